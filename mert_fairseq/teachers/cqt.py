"""The musical teacher: constant-Q magnitudes, one definition and one fast transform.

The definition is ``nnAudio.features.cqt.CQT`` with the published settings: Hann kernels of constant Q, L1 norm, centred frames,
zero padding, magnitude times the square root of the kernel's length. nnAudio's kernels, up to 50,460 samples long, are taken as
they are, but not convolved in time. On a grid of L = hop * M samples

    frame t of bin k  =  sum_n wave[hop * t + n] * conj(kernel_k[n])  =  IDFT_M( fold( DFT_L(wave) * conj(DFT_L(kernel_k)) ) )[t]

where `fold` adds up all frequencies that are equal modulo M: taking every hop-th sample is aliasing. A kernel's spectrum is a
narrow band of positive frequencies, so a bin costs a few products per frame.

Alignment: frame t is centred on sample 320 t of the clip; the first is centred on its first sample.
Shape legend: B batch, S samples, T = S // hop + 1 frames, Q bins, M frames of the grid, J segments of M frequencies, G bins.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Tuple, Union

import numpy as np
import torch

from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP, SAMPLE_RATE

CACHED_GRIDS = 4  # grid lengths kept; training needs one, validation perhaps another
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


Grid = List[Tuple[Group, torch.Tensor]]


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


class FastCQT(torch.nn.Module):
    """Constant-Q magnitudes in the frequency domain; the same values as nnAudio's CQT, tens of times faster on CPU (tests/benchmarks).

    `threshold` is where kernels may be cut, relative to the peak of their spectrum. On noise 2e-5 gives a relative error of
    1.3e-5 and at most 3e-5 of the largest value; 1e-4 is about a tenth faster with three times the error.

    Nothing is learned or saved: the kernels lie in a plain dict, which keeps them out of `state_dict()` and out of reach of
    `.half()` and `.to()`. They follow the wave's device. One grid length of 5 s takes 14 MB, half a second to build.
    """

    def __init__(self, config: CQTConfig = CQTConfig(), threshold: float = 2e-5) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise MertError(f"CQT threshold {threshold} must be above 0 and below 1")
        self.config, lobes = config, num_lobes(threshold)
        top = float(config.frequency(config.num_bins - 1)) * (1 + lobes / config.quality)
        if top > config.hop // 2 / config.hop * config.sample_rate:
            raise MertError(f"the top CQT bin reaches up to {top:.0f} Hz, above half of {config.sample_rate} Hz: use fewer bins")
        if lobes >= config.quality:
            raise MertError(f"CQT threshold {threshold} is too low for bins_per_octave={config.bins_per_octave}: raise it")
        self.groups = plan_groups(config, lobes)
        self._grids: Dict[Tuple[int, torch.device], Grid] = {}

    def __getstate__(self) -> Dict[str, Any]:
        """Copies and pickles leave the kernels out; they are built again where needed."""
        return {**self.__dict__, "_grids": {}}

    @property
    def reach(self) -> int:
        """Samples that the longest kernel sees on one side of a frame's centre: 25,230."""
        return -kernels(self.config)[0].offset + 1

    @torch.no_grad()
    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """[B, S] samples at `config.sample_rate`, S >= 1 -> [B, T, Q] float32 magnitudes, T = S // hop + 1.

        Always in float32, autocast or not, and without a gradient. A sample that is not finite spoils all frames of its clip.
        Raises MertError for another number of dimensions, no samples, or samples that are not floating-point.
        """
        if wave.dim() != 2 or wave.numel() == 0 or not wave.is_floating_point():
            raise MertError(f"the CQT takes a floating-point wave [B, S] with B, S >= 1, not {wave.dtype} {list(wave.shape)}")
        num_frames = wave.shape[1] // self.config.hop + 1
        # Half a kernel of zeros follows the clip, so a kernel that wraps around the circle meets only zeros.
        frames = grid_frames(-(-(wave.shape[1] + self.reach) // self.config.hop))
        with torch.autocast(wave.device.type, enabled=False):
            spectrum = torch.fft.rfft(wave.float(), n=frames * self.config.hop)
            segments = spectrum[:, : self.config.hop // 2 * frames].unflatten(1, (-1, frames))  # [B, hop / 2, M]
            folded = spectrum.new_empty(len(wave), self.config.num_bins, frames)  # [B, Q, M]
            for (bins, span), weights in self._weights(frames, wave.device):
                piece = segments[:, None, span.start : span.stop]
                torch.sum(piece * weights, 2, out=folded[:, bins.start : bins.stop])
            return torch.fft.ifft(folded)[..., :num_frames].abs().transpose(1, 2).contiguous()

    def _weights(self, frames: int, device: torch.device) -> Grid:
        """The weights for a grid of `frames`, built at its first use; the least recently used grid is dropped."""
        grid = self._grids.pop((frames, device), None)
        if grid is None:
            grid = [(group, group_weights(self.config, group, frames).to(device)) for group in self.groups]
        self._grids[frames, device] = grid  # last in, so first in is least recently used
        if len(self._grids) > CACHED_GRIDS:
            self._grids.pop(next(iter(self._grids)))
        return grid


def cqt_track(wave: Union[torch.Tensor, np.ndarray], transform: FastCQT, block_frames: int = 1024) -> np.ndarray:
    """A whole track of any length in bounded memory: [S] samples -> float32 array [S // hop + 1, Q].

    Every block of `block_frames` has a kernel's reach of the track (or of zeros) on both sides, so its frames are those of the
    whole track, and all blocks have one length, so one cached grid serves. Runs on the wave's device; a memory-mapped array is
    read block by block. Raises MertError for another number of dimensions, no samples, samples that are not floating-point or
    not finite, or block_frames < 1.
    """
    if wave.ndim != 1 or len(wave) == 0 or block_frames < 1:
        raise MertError(f"cqt_track takes a wave [S], S >= 1, and block_frames >= 1, not {[*wave.shape]} and {block_frames}")
    hop, margin = transform.config.hop, -(-transform.reach // transform.config.hop)
    num_frames = wave.shape[0] // hop + 1
    output = np.empty((num_frames, transform.config.num_bins), np.float32)
    for first in range(0, num_frames, block_frames):
        before = (first - margin) * hop  # where the block begins in the track; negative in the first blocks
        start, stop = max(0, before), before + (block_frames + 2 * margin) * hop
        part = wave[start:stop]
        part = part if isinstance(part, torch.Tensor) else torch.from_numpy(np.array(part))
        if not part.isfinite().all():
            raise MertError(f"the track has samples that are not finite between {start} and {start + len(part)}: repair the file")
        block = torch.nn.functional.pad(part, (start - before, stop - start - len(part)))
        frames = transform(block[None])[0, margin : margin + min(block_frames, num_frames - first)]
        output[first : first + len(frames)] = frames.cpu().numpy()
    return output
