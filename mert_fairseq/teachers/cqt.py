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

from typing import Any, Dict, List, Tuple, Union

import numpy as np
import torch

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.cqt_kernels import CQTConfig, Group, grid_frames, group_weights, kernels, num_lobes, plan_groups

PUBLISHED = CQTConfig()
CACHED_GRIDS = 4  # grid lengths kept; training needs one, validation perhaps another

Grid = List[Tuple[Group, torch.Tensor]]


class FastCQT(torch.nn.Module):
    """Constant-Q magnitudes in the frequency domain; the same values as nnAudio's CQT, tens of times faster on CPU (tests/benchmarks).

    `threshold` is where kernels may be cut, relative to the peak of their spectrum. On noise 2e-5 gives a relative error of
    1.3e-5 and at most 3e-5 of the largest value; 1e-4 is about a tenth faster with three times the error.

    Nothing is learned or saved: the kernels lie in a plain dict, which keeps them out of `state_dict()` and out of reach of
    `.half()` and `.to()`. They follow the wave's device. One grid length of 5 s takes 14 MB, half a second to build.
    """

    def __init__(self, config: CQTConfig = PUBLISHED, threshold: float = 2e-5) -> None:
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
