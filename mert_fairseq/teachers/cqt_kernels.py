"""The kernels of the CQT and their spectra on a grid; `mert_fairseq.teachers.cqt` has the definition and the letters of the shapes."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, List, NamedTuple, Tuple

import numpy as np
import torch

from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP, SAMPLE_RATE

GROUP_SIZE = 128  # bins times segments of a group: for clips of 5 s, 0.5 MB of weights; larger ones fall out of the CPU's cache
GRID_STEP = 16  # grids have a multiple of this many frames, so that clips of about the same length share one


@dataclass(frozen=True)
class CQTConfig:
    """What is computed. The defaults are the published MERT configuration: 7 octaves of 48 bins from C1."""

    sample_rate: int = SAMPLE_RATE  # Hz
    hop: int = HOP  # samples per frame
    fmin: float = 32.7  # Hz, centre of bin 0
    num_bins: int = 336
    bins_per_octave: int = 48

    def __post_init__(self) -> None:
        for name in ("sample_rate", "hop", "fmin", "num_bins", "bins_per_octave"):
            if not getattr(self, name) > 0:
                raise MertError(f"CQT setting {name}={getattr(self, name)} must be above 0")

    @property
    def quality(self) -> float:
        """Centre frequency divided by bandwidth: 68.75 for 48 bins per octave."""
        return 1 / (2 ** (1 / self.bins_per_octave) - 1)

    def frequency(self, index: Any) -> Any:
        """Centre of bin `index` (a number or an array) in Hz."""
        return self.fmin * 2 ** (index / self.bins_per_octave)


class Kernel(NamedTuple):
    """One bin's kernel without its zeros."""

    taps: np.ndarray  # complex64
    offset: int  # samples from the frame's centre to the first tap (negative)
    length: int  # samples, zeros at the window's edge included


class Group(NamedTuple):
    """Neighbouring bins and the segments that their bands lie in. A segment is M frequencies of the grid, 75 Hz at any M."""

    bins: range
    segments: range


@lru_cache(maxsize=2)
def kernels(config: CQTConfig) -> Tuple[Kernel, ...]:
    """nnAudio's kernels, lowest bin first (28 MB for the default; half a second)."""
    from nnAudio.utils import create_cqt_kernels  # here: the package is slow to import and only the first transform needs it

    dense, width, lengths, _ = create_cqt_kernels(
        config.quality, config.sample_rate, config.fmin, config.num_bins, config.bins_per_octave, norm=1, window="hann"
    )
    found = []
    for row, length in zip(dense, lengths):
        taps = np.flatnonzero(row)
        found.append(Kernel(row[taps[0] : taps[-1] + 1].copy(), int(taps[0]) - width // 2, int(length)))
    return tuple(found)


def num_lobes(threshold: float) -> int:
    """Side lobes of a Hann kernel's spectrum to keep on either side: the others lie under `threshold` of the peak.

    At x bandwidths from its centre a Hann window's spectrum is sin(pi x) / (pi x (1 - x^2)) of its peak, zero at x = 2, 3, ...
    """
    return max(2, math.ceil((1 / (math.pi * threshold)) ** (1 / 3) - 0.5))


def grid_frames(num_frames: int) -> int:
    """The least M >= `num_frames` that is a multiple of 16 with no prime factor above 5, which FFTs are quick for."""
    frames = max(1, -(-num_frames // GRID_STEP))
    while True:
        rest = frames
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return frames * GRID_STEP
        frames += 1


def plan_groups(config: CQTConfig, lobes: int) -> List[Group]:
    """All bins, lowest first, in groups of at most GROUP_SIZE (or one bin).

    A group keeps whole segments: what is added to a bin's band costs nothing more, as the products are dense, and halves the
    error. Groups do not depend on M, so that every grid, and with it every block of a track, gives the same values.
    """
    groups: List[Group] = []
    segment_hz, spread = config.sample_rate / config.hop, lobes / config.quality
    for index in range(config.num_bins):
        centre = config.frequency(index) / segment_hz
        start, stop = math.floor(centre * (1 - spread)), math.ceil(centre * (1 + spread))
        if groups:
            bins, segments = groups[-1]
            joined = Group(range(bins.start, index + 1), range(min(segments.start, start), max(segments.stop, stop)))
            if len(joined.bins) * len(joined.segments) <= GROUP_SIZE:
                groups[-1] = joined
                continue
        groups.append(Group(range(index, index + 1), range(start, stop)))
    return groups


def group_weights(config: CQTConfig, group: Group, frames: int) -> torch.Tensor:
    """Spectra of a group's kernels over all its segments, complex64 [G, J, M], with everything in them that is constant.

    Only these frequencies are computed, by the chirp transform, in double precision: a bin takes about 1 ms, where full FFTs
    of all kernels would take seconds.
    """
    from scipy.signal import zoom_fft  # here: slow to import, see `kernels`

    grid, first, stop = frames * config.hop, group.segments.start * frames, group.segments.stop * frames
    weights = np.empty((len(group.bins), len(group.segments), frames), np.complex64)
    for row, (taps, offset, length) in zip(weights, kernels(config)[group.bins.start : group.bins.stop]):
        spectrum = zoom_fft(taps.astype(np.complex128), [first, stop], m=stop - first, fs=grid)
        turn = np.arange(first, stop) * offset % grid  # whole numbers: no rounding of large angles
        spectrum *= np.exp(-2j * np.pi / grid * turn)
        row.reshape(-1)[:] = spectrum.conj() * (math.sqrt(length) / config.hop)
    return torch.from_numpy(weights)
