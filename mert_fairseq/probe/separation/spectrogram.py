"""The spectrogram that networks work on: 1025 bins, one frame per hop of the encoder (MARBLE's code: n_fft 2048, hop 320, centred)."""

import torch
from torch import Tensor

from mert_fairseq.frames import HOP

N_FFT = 2048  # samples, 85 ms at 24 kHz
NUM_BINS = N_FFT // 2 + 1


def num_frames(num_samples: int) -> int:
    """Frames of a wave: S // 320 + 1; frame t is centred on sample 320 t."""
    return num_samples // HOP + 1


def stft(wave: Tensor) -> Tensor:
    """[C, S] -> complex [C, T, 1025]."""
    window = torch.hann_window(N_FFT, device=wave.device, dtype=wave.dtype)
    return torch.stft(wave, N_FFT, HOP, window=window, center=True, return_complex=True).transpose(-1, -2)


def inverse_stft(spectrum: Tensor, num_samples: int) -> Tensor:
    """Complex [C, T, 1025] -> [C, S]."""
    window = torch.hann_window(N_FFT, device=spectrum.device, dtype=spectrum.real.dtype)
    return torch.istft(spectrum.transpose(-1, -2), N_FFT, HOP, window=window, center=True, length=num_samples)


def mono_magnitude(wave: Tensor) -> Tensor:
    """[B, C, S] -> [B, T, 1025], the mean of the channels' magnitudes."""
    return stft(wave.flatten(0, 1)).abs().unflatten(0, wave.shape[:2]).mean(1)
