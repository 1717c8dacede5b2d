"""The baseline that knows nothing: log-mel frames and how much they change."""

import hashlib
from typing import List, Optional

import torch
from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from mert_fairseq.frames import FRAME_RATE, HOP, SAMPLE_RATE

NUM_BINS, WINDOW = 128, 2048  # mel bands up to 12 kHz; samples of a frame (85 ms)
FLOOR = 1e-5


class LogMelEncoder:
    """One hidden state [B, T, 256]: 128 log-mel bands, and the absolute difference of each to the frame before.

    The differences let a mean over time tell fast music from slow.
    """

    name, num_layers, dim, frame_rate, shortest = "logmel", 0, 2 * NUM_BINS, float(FRAME_RATE), WINDOW // 2 + 1

    def __init__(self, device: torch.device):
        self.device = device
        self._mel = MelSpectrogram(SAMPLE_RATE, n_fft=WINDOW, hop_length=HOP, n_mels=NUM_BINS, power=1.0).to(device)
        self.weights_hash = hashlib.sha256(f"logmel {NUM_BINS} {WINDOW} {HOP} {FLOOR}".encode()).hexdigest()

    def hidden_states(self, wave: Tensor, last: Optional[int] = None) -> List[Tensor]:
        """[B, S] samples at 24 kHz -> [[B, T, 256]]."""
        levels = (self._mel(wave.to(self.device)) + FLOOR).log().transpose(1, 2)
        change = torch.diff(levels, dim=1, prepend=levels[:, :1]).abs()
        return [torch.cat([levels, change], dim=-1)]
