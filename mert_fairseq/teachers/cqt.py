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
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
import torch

from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP, SAMPLE_RATE

CACHED_GRIDS = 4  # grid lengths kept; training needs one, validation perhaps another
GROUP_SIZE = 2**16  # weights in a group (512 kB): measured best on CPU from 2^15 to 2^19, larger ones fall out of the cache
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


class Band(NamedTuple):
    """One kernel's spectrum on a grid, where it is not negligible."""

    first: int  # frequency, as a number of the grid's bins
    weights: np.ndarray  # complex64, from `first` on


class Group(NamedTuple):
    """Spectra of neighbouring bins on a grid, cut to the segments of M frequencies where any of them is not zero."""

    first_segment: int
    weights: torch.Tensor  # complex64 [G, J, M]


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
    """Side lobes of a Hann kernel's spectrum kept on either side: the others lie under `threshold` of the peak.

    At x bandwidths from its centre a Hann window's spectrum is sin(pi x) / (pi x (1 - x^2)) of its peak, zero at x = 2, 3, ...
    The cut is made at a zero: a step there would ring in time, beyond the kernel's own length.
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


def kernel_band(config: CQTConfig, index: int, frames: int, lobes: int) -> Band:
    """Bin `index` on a grid of M = `frames`: the first frequency of its band and the weights of its product.

    Only the band is computed, by the chirp transform, in double precision: one such bin takes 1 ms, 336 full FFTs would take
    seconds and half a gigabyte. The weights hold everything that is constant: conjugation, sqrt(length), decimation.
    """
    from scipy.signal import zoom_fft  # here: slow to import, see `kernels`

    taps, offset, length = kernels(config)[index]
    grid = frames * config.hop
    centre, half = config.frequency(index) * grid / config.sample_rate, lobes * grid / length
    first, stop = max(0, math.floor(centre - half)), min(math.ceil(centre + half) + 1, config.hop // 2 * frames)
    spectrum = zoom_fft(taps.astype(np.complex128), [first, stop], m=stop - first, fs=grid)
    turn = np.arange(first, stop) * offset % grid  # whole numbers: no rounding of large angles
    spectrum *= np.exp(-2j * np.pi / grid * turn)
    return Band(first, (spectrum.conj() * (math.sqrt(length) / config.hop)).astype(np.complex64))


def segment_range(bands: Sequence[Band], frames: int) -> Tuple[int, int]:
    """First segment of `frames` frequencies that any of the bands touches, and the one after the last."""
    return min(band.first for band in bands) // frames, max(-(-(band.first + len(band.weights)) // frames) for band in bands)


def pack(bands: Sequence[Band], frames: int) -> Group:
    """Neighbouring bands side by side in one array, zeros around them."""
    start, stop = segment_range(bands, frames)
    weights = np.zeros((len(bands), (stop - start) * frames), np.complex64)
    for row, band in zip(weights, bands):
        row[band.first - start * frames :][: len(band.weights)] = band.weights
    return Group(start, torch.from_numpy(weights).view(len(bands), stop - start, frames))


def build_groups(config: CQTConfig, frames: int, lobes: int) -> List[Group]:
    """All bins on a grid of `frames`, lowest first, in groups of at most GROUP_SIZE weights (or one bin)."""
    groups: List[Group] = []
    members: List[Band] = []
    for index in range(config.num_bins):
        band = kernel_band(config, index, frames, lobes)
        start, stop = segment_range([*members, band], frames)
        if members and (len(members) + 1) * (stop - start) * frames > GROUP_SIZE:
            groups.append(pack(members, frames))
            members = []
        members.append(band)
    return [*groups, pack(members, frames)]


class FastCQT(torch.nn.Module):
    """Constant-Q magnitudes in the frequency domain; the same values as nnAudio's CQT, some hundred times faster on CPU.

    `threshold` is where kernels are cut, relative to the peak of their spectrum. 2e-5 gives a relative error of about 3e-5 and
    a maximum of about 4e-5 of the largest value; 1e-4 is 15 % faster with three times the error.

    Nothing is learned or saved: the kernels lie in a plain dict, which keeps them out of `state_dict()` and out of reach of
    `.half()` and `.to()`. They follow the wave's device. One grid length of 5 s takes 14 MB, half a second to build.
    """

    def __init__(self, config: CQTConfig = CQTConfig(), threshold: float = 2e-5) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise MertError(f"CQT threshold {threshold} must be above 0 and below 1")
        self.config, self.lobes = config, num_lobes(threshold)
        top = float(config.frequency(config.num_bins - 1)) * (1 + self.lobes / config.quality)
        if top > config.hop // 2 / config.hop * config.sample_rate:
            raise MertError(f"the top CQT bin reaches up to {top:.0f} Hz, above half of {config.sample_rate} Hz: use fewer bins")
        if self.lobes >= config.quality:
            raise MertError(f"CQT threshold {threshold} is too low for bins_per_octave={config.bins_per_octave}: raise it")
        self._grids: Dict[Tuple[int, torch.device], List[Group]] = {}

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
        # The zeros behind the clip are as long as a kernel's half, so what wraps around the circle is zeros.
        frames = grid_frames(-(-(wave.shape[1] + self.reach) // self.config.hop))
        with torch.autocast(wave.device.type, enabled=False):
            spectrum = torch.fft.rfft(wave.float(), n=frames * self.config.hop)
            segments = spectrum[:, : self.config.hop // 2 * frames].unflatten(1, (-1, frames))  # [B, hop / 2, M]
            folded = spectrum.new_empty(len(wave), self.config.num_bins, frames)  # [B, Q, M]
            index = 0
            for start, weights in self._groups(frames, wave.device):
                bins, num_segments, _ = weights.shape
                piece = segments[:, None, start : start + num_segments]
                torch.sum(piece * weights, 2, out=folded[:, index : index + bins])
                index += bins
            return torch.fft.ifft(folded)[..., :num_frames].abs().transpose(1, 2).contiguous()

    def _groups(self, frames: int, device: torch.device) -> List[Group]:
        """The groups for a grid of `frames`, built at its first use; the least recently used grid is dropped."""
        groups = self._grids.pop((frames, device), None)
        if groups is None:
            built = build_groups(self.config, frames, self.lobes)
            groups = [Group(start, weights.to(device)) for start, weights in built]
        self._grids[frames, device] = groups  # last in, so first in is least recently used
        if len(self._grids) > CACHED_GRIDS:
            self._grids.pop(next(iter(self._grids)))
        return groups


def cqt_track(wave: Union[torch.Tensor, np.ndarray], transform: FastCQT, block_frames: int = 2048) -> np.ndarray:
    """A whole track of any length in bounded memory: [S] samples -> float32 array [S // hop + 1, Q].

    Every block of `block_frames` has a kernel's reach of the track (or of zeros) on both sides, so its frames are those of the
    whole track, and all blocks have one length, so one cached grid serves. Runs on the wave's device; a memory-mapped array is
    read block by block. Raises MertError for another number of dimensions, no samples, samples that are not floating-point or
    not finite, or block_frames < 1.
    """
    if wave.ndim != 1 or len(wave) == 0 or block_frames < 1:
        raise MertError(f"cqt_track takes a wave [S], S >= 1, and block_frames >= 1, not {list(wave.shape)} and {block_frames}")
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
