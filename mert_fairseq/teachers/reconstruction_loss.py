"""How far a teacher's sound is from the recording: the wave and log-mel spectra at three resolutions."""

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from mert_fairseq.frames import SAMPLE_RATE


class LogMel(nn.Module):
    """Log of the mel magnitude spectrum: wave [B, S] -> [B, num_mels, S // hop + 1]."""

    def __init__(self, window: int, hop: int, num_mels: int) -> None:
        super().__init__()
        self.n_fft, self.hop = window, hop
        self.register_buffer("window", torch.hann_window(window))
        self.register_buffer("bank", melscale_fbanks(window // 2 + 1, 0.0, SAMPLE_RATE / 2, num_mels, SAMPLE_RATE).T)

    def forward(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(wave, self.n_fft, self.hop, window=self.window, normalized=True, return_complex=True)
        return (self.bank @ spectrum.abs()).clamp(min=1e-4).log()


class ReconstructionLoss(nn.Module):
    """Waveform L1 plus the L1 between log-mel spectra at three resolutions."""

    def __init__(self, waveform_weight: float, gain: float) -> None:
        super().__init__()
        self.waveform_weight, self.gain = waveform_weight, gain
        self.mels = nn.ModuleList(LogMel(window, window // 4, bands) for window, bands in ((512, 40), (1024, 64), (2048, 80)))

    def forward(self, estimate: Tensor, wave: Tensor) -> Tensor:
        loss = self.waveform_weight * (estimate - wave).abs().mean() * self.gain
        return loss + sum((mel(estimate) - mel(wave)).abs().mean() for mel in self.mels)
