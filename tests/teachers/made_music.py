"""Music made for the tests of teachers."""

from dataclasses import dataclass

import numpy as np


@dataclass
class ArrayTrack:
    """A wave in memory, read as a file is."""

    wave: np.ndarray

    @property
    def num_samples(self) -> int:
        return len(self.wave)

    def read(self, start: int, num_samples: int) -> np.ndarray:
        return self.wave[start : start + num_samples]


def chords(seconds: float, seed: int) -> np.ndarray:
    """Decaying three-tone chords, a new one each half second."""
    random, time = np.random.default_rng(seed), np.arange(12_000) / 24_000
    parts = [sum(np.sin(2 * np.pi * f * time) for f in random.uniform(100, 2000, 3)) for _ in range(int(seconds * 2) + 1)]
    wave = np.concatenate([0.1 * random.uniform(0.2, 2) * np.exp(-3 * time) * part for part in parts])
    return wave[: round(seconds * 24_000)].astype(np.float32)


def noise(num_samples, seed):
    """Of a loudness that changes ten times a second."""
    random = np.random.default_rng(seed)
    loudness = np.repeat(random.random(num_samples // 2400 + 1, np.float32), 2400)[:num_samples]
    return 0.3 * loudness * random.standard_normal(num_samples, np.float32)
