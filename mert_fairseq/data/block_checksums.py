"""Checksums of a shard's array, one for every so many frames: what is read is held against them, each time.

One sum of the whole array takes reading all of it, which training never does at once; blocks cost little more than the crop itself.
"""

import base64
import zlib
from pathlib import Path

import numpy as np

from mert_fairseq.errors import MertError

#: Small beside the reading of a crop (8 codebooks: 16 KB), and large beside its sum (4 bytes): 43 MB of sums for 40,000 hours.
BLOCK_FRAMES = 1024
REPAIR = "run `mert labels check MANIFEST_DIR LABEL_DIR --repair`"


class BlockSums:
    """Takes the array [frames, width] piece by piece as it is written."""

    def __init__(self):
        self._done, self._open, self._held = [], 0, 0  # sums of whole blocks; sum and frames of the one that is not

    def add(self, frames: np.ndarray) -> None:
        """The next frames [T, width], contiguous."""
        while len(frames):
            taken = frames[: BLOCK_FRAMES - self._held]
            self._open, self._held = zlib.crc32(taken.data, self._open), self._held + len(taken)
            frames = frames[len(taken) :]
            if self._held == BLOCK_FRAMES:
                self._done.append(self._open)
                self._open, self._held = 0, 0

    def text(self) -> str:
        """All sums, CRC-32 in four bytes each, least first, as base64."""
        sums = [*self._done, self._open] if self._held else self._done
        return base64.b64encode(np.asarray(sums, "<u4").tobytes()).decode()


def read_sums(text: str, num_frames: int) -> np.ndarray:
    """The sums [blocks] of `BlockSums.text`. Raises ValueError for a text that is none, or of another number of frames."""
    held = base64.b64decode(text, validate=True)
    if len(held) != 4 * -(-num_frames // BLOCK_FRAMES):
        raise ValueError(f"checksums of {len(held) / 4:g} blocks for {num_frames} frames")
    return np.frombuffer(held, "<u4")


class CheckedFrames:
    """A shard's array, of which nothing is given that is not as it was written.

    Args:
        array: [frames, width], memory-mapped, rows one after another.
        sums: of its blocks; None for a shard that was written without.
    """

    def __init__(self, path: Path, array: np.ndarray, sums: "np.ndarray | None"):
        self._path, self._array, self._sums = path, array, sums

    def __len__(self) -> int:
        return len(self._array)

    @property
    def has_sums(self) -> bool:
        """Whether changed bytes are noticed."""
        return self._sums is not None

    def __getitem__(self, frames: slice) -> np.ndarray:
        """A view of frames first:stop. Raises MertError if a block that they lie in has another checksum."""
        first, stop, _ = frames.indices(len(self._array))
        for block in range(first // BLOCK_FRAMES, -(-stop // BLOCK_FRAMES)) if self.has_sums and first < stop else ():
            held = self._array[block * BLOCK_FRAMES : (block + 1) * BLOCK_FRAMES]
            if zlib.crc32(held.data) != self._sums[block]:
                at = block * BLOCK_FRAMES
                raise MertError(f"{self._path}: changed since it was written, between frames {at} and {at + len(held)}; {REPAIR}")
        return self._array[first:stop]
