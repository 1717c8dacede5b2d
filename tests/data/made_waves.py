"""Waves with known samples, and the files that hold them."""

import numpy as np
import soundfile


def music(num_frames, rate, channels=1, seed=0):
    """A sweep with noise, below full scale: float32 [num_frames, channels]."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(num_frames)[:, None] / rate
    phase = 2 * np.pi * (100 + 40 * np.arange(channels)) * time_s * (1 + time_s / 8)
    return (0.4 * np.sin(phase) + 0.05 * rng.standard_normal((num_frames, channels))).clip(-0.9, 0.9).astype(np.float32)


def write(path, wave, rate, **how):
    soundfile.write(path, wave, rate, **how)
    return path
