"""Spectral features on the frame grid, which clustering teachers turn into codes.

Frame t is centred on sample 320 t, as the CQT's, with zeros beyond both ends of the track: T = S // 320 + 1 frames.
Shape legend: S samples, T frames, F features.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Dict

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import compute_deltas, create_dct, melscale_fbanks

from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP, SAMPLE_RATE, num_cqt_frames

BLOCK_FRAMES = 4096  # of a track at a time: 34 MB of spectra with 2,049 bins


@dataclass(frozen=True)
class FeatureConfig:
    """What is computed of each frame. What the paper does not give was chosen here and is marked so."""

    kind: str  # logmel, chroma or mfcc
    size: int  # F before deltas: mel bands, divisions of the octave, or cepstral coefficients
    window: int = 2048  # samples, Hann (chosen: 85 ms, of piano transcription's 229 mel bands)
    n_fft: int = 4096  # samples, the window zero-padded (chosen: bins of 5.9 Hz, so that no mel band is empty)
    f_min: float = 30.0  # Hz (chosen: below the piano's lowest string)
    f_max: float = 12_000.0  # Hz (chosen: half the sample rate)
    mel_bands: int = 80  # under the cepstrum of mfcc

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MertError(f"features {self.kind!r}; allowed: {', '.join(KINDS)}")
        if self.size < 1 or not 0 < self.window <= self.n_fft or not 0 <= self.f_min < self.f_max <= SAMPLE_RATE / 2:
            raise MertError(f"features of size {self.size}, window {self.window} of {self.n_fft}, {self.f_min} to {self.f_max} Hz: "
                            f"need size >= 1, 0 < window <= n_fft, 0 <= f_min < f_max <= {SAMPLE_RATE // 2}")

    @property
    def num_features(self) -> int:
        """F: mfcc has its first and second differences beside it."""
        return 3 * self.size if self.kind == "mfcc" else self.size


KINDS: Dict[str, str] = {
    "logmel": "natural logarithm of mel energies",
    "chroma": "energy of each pitch class, octaves folded, largest 1",
    "mfcc": "cepstral coefficients with two differences",
}
#: Settings by the name that the command line takes.
FEATURES = {
    "logmel": FeatureConfig("logmel", 229),  # MERT paper, section 4.2: 229 dimensions
    "chroma": FeatureConfig("chroma", 264, window=4096),  # section 4.2: 264 dimensions; a longer window, as pitch is what it is about
    # HuBERT's: 13 coefficients and two differences, windows of 25 ms (Hsu et al. 2021, section III)
    "mfcc": FeatureConfig("mfcc", 13, window=600, n_fft=1024, f_min=20.0),
    "melrvq": FeatureConfig("logmel", 80, window=1024, n_fft=2048),
}


class FrameFeatures:
    """Wave [S] -> features float32 [T, F], the same for any block length; computed on the CPU."""

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._window = torch.hann_window(config.window)

    @cached_property
    def _bands(self) -> Tensor:
        """Weights of the spectrum's bins, [n_fft // 2 + 1, bands]."""
        config = self.config
        if config.kind == "chroma":
            from nnAudio.librosa_functions import chroma  # here: slow to import, and only chroma needs it

            return torch.from_numpy(chroma(SAMPLE_RATE, config.n_fft, n_chroma=config.size)).T.float()
        bands = config.size if config.kind == "logmel" else config.mel_bands
        return melscale_fbanks(config.n_fft // 2 + 1, config.f_min, config.f_max, bands, SAMPLE_RATE)

    @torch.no_grad()
    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """Features of a whole track, block by block. Raises MertError for samples that are not finite."""
        samples, num_frames = torch.as_tensor(wave, dtype=torch.float32), num_cqt_frames(len(wave))
        if not torch.isfinite(samples).all():
            raise MertError("the wave holds samples that are not finite; allowed: finite float32; decode the file again")
        blocks = [self._static(samples, first, min(BLOCK_FRAMES, num_frames - first)) for first in range(0, num_frames, BLOCK_FRAMES)]
        static = torch.cat(blocks)
        if self.config.kind == "mfcc":
            first = compute_deltas(static.T)
            static = torch.cat([static.T, first, compute_deltas(first)]).T
        return static.numpy()

    def _static(self, samples: Tensor, first: int, num_frames: int) -> Tensor:
        """Features [num_frames, size] from frame `first` on, without differences."""
        power = self._power(samples, first, num_frames) @ self._bands
        if self.config.kind == "chroma":
            return power / power.amax(1, keepdim=True).clamp(min=1e-6)
        logarithm = (power + 1e-5).log()
        if self.config.kind == "mfcc":
            return logarithm @ create_dct(self.config.size, self.config.mel_bands, "ortho")
        return logarithm

    def _power(self, samples: Tensor, first: int, num_frames: int) -> Tensor:
        """Power spectra [num_frames, n_fft // 2 + 1]; beyond the track's ends there are zeros."""
        half, begin = self.config.window // 2, first * HOP - self.config.window // 2
        end = (first + num_frames - 1) * HOP + half
        piece = samples[max(0, begin) : end]
        piece = torch.nn.functional.pad(piece, (max(0, -begin), end - max(0, begin) - len(piece)))
        frames = piece.unfold(0, self.config.window, HOP)[:num_frames]
        return torch.fft.rfft(frames * self._window, n=self.config.n_fft).abs().square()
