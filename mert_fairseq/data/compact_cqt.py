"""CQT magnitudes in one byte: half the space of float16.

A value v of bin q is kept as round(255 * sqrt(v / scale_q)), scale_q being the bin's largest value in the shard. The square root
spends the levels where magnitudes are: a step is 0.8 % of the largest value at the top and a ten-thousandth of that near zero.
"""

import numpy as np

LEVELS = 255


def to_bytes(frames: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Magnitudes [T, Q] >= 0 and the largest of each bin [Q] -> uint8 [T, Q]."""
    safe = np.where(scale > 0, scale, 1)
    return np.round(LEVELS * np.sqrt(np.clip(frames / safe, 0, 1))).astype(np.uint8)


def from_bytes(levels: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """uint8 [T, Q] -> magnitudes float32 [T, Q]."""
    share = levels.astype(np.float32) / LEVELS
    return share * share * scale
