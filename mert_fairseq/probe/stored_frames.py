"""Frames of one recording in 8 bits a value, half the space of float16: a file or an array per hidden state.

    {layer}.array    uint8 [R, D] in the form of `checked_arrays`; in blocks of 256 rows, the last one shorter: two rows of float32 as
                     eight of bytes, which are offset and step of each dimension, and 248 frames (3.3 s)

A value is its dimension's offset plus a whole number of steps, of which the dimension's range in the block has 255: what is lost is a
thousandth of the range on average, under a hundredth of the deviation of features that are spread normally. A frame that is far from all
others makes the steps of its own block alone coarse.
"""

from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Union

import numpy as np

from mert_fairseq.data.checked_arrays import Mapped, map_checked, write_checked
from mert_fairseq.errors import MertError
from mert_fairseq.probe.kept_json import unreadable

HEADER, BLOCK = 8, 248  # rows
STEPS = 255
Rows = Union[Path, np.ndarray]


def num_rows(num_frames: int) -> int:
    """R of T frames."""
    return num_frames + HEADER * -(-num_frames // BLOCK)


def encode(frames: np.ndarray) -> np.ndarray:
    """Float [T, D] -> uint8 [R, D]; raises MertError for frames that are not finite."""
    frames = np.asarray(frames, np.float32)
    if not np.isfinite(frames).all():
        raise MertError("features are not finite; the encoder's weights or its precision are at fault")
    return np.concatenate([_encode_block(frames[first : first + BLOCK]) for first in range(0, len(frames), BLOCK)])


def _encode_block(frames: np.ndarray) -> np.ndarray:
    low = frames.min(0)
    step = (frames.max(0) - low) / STEPS
    places = np.rint((frames - low) / np.where(step > 0, step, 1))
    header = np.stack([low, step]).astype("<f4").view(np.uint8).reshape(HEADER, -1)
    return np.concatenate([header, places.clip(0, STEPS).astype(np.uint8)])


def decode(rows: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Of uint8 [R, D] the frames of those numbers, float32 [t, D]."""
    blocks, inside = np.divmod(frames, BLOCK)
    needed, own = np.unique(blocks, return_inverse=True)
    headers = rows[(needed * (HEADER + BLOCK))[:, None] + np.arange(HEADER)]
    low, step = headers.reshape(len(needed), -1).view("<f4").reshape(len(needed), 2, -1).swapaxes(0, 1)
    return low[own] + step[own] * rows[blocks * (HEADER + BLOCK) + HEADER + inside]


def store_frames(path: Path, frames: np.ndarray) -> None:
    """Float [T, D] of a hidden state, as a file; raises OSError where it cannot be written, MertError for frames that are not finite."""
    rows = encode(frames)
    path.parent.mkdir(exist_ok=True)
    write_checked(path, rows)
    for older in older_files(path):
        older.unlink(missing_ok=True)


def older_files(path: Path) -> List[Path]:
    """What earlier versions kept of the same frames, in two files, of which two processes could leave one each."""
    return [older for older in (path.with_suffix(".npy"), path.with_suffix(".crc32")) if older.exists()]


class StoredFrames:
    """Hidden states of a recording, decoded as they are asked for.

    Args:
        num_layers: L of the encoder.
        layers: of each hidden state that is kept its file, or what is in it.

    Attributes:
        num_layers: L.
        num_frames: T.
        dim: D.

    Raises:
        MertError: a file is missing or damaged; of those after the first, when they are asked for.
    """

    def __init__(self, num_layers: int, layers: Mapping[int, Rows]):
        self.num_layers, self._layers = num_layers, dict(layers)
        self._checked: Dict[int, int] = {}
        first = next(iter(self._layers.values()))
        self._shape = (_open(first).array if isinstance(first, Path) else first).shape
        self.num_frames, self.dim = self._shape[0] - HEADER * -(-self._shape[0] // (HEADER + BLOCK)), self._shape[1]

    @classmethod
    def of(cls, states: np.ndarray) -> "StoredFrames":
        """Of float [T, L + 1, D], in memory."""
        return cls(states.shape[1] - 1, {layer: encode(states[:, layer]) for layer in range(states.shape[1])})

    def layer(self, number: int, frames: np.ndarray) -> np.ndarray:
        """[t, D] of one hidden state."""
        return decode(self._rows(number), frames)

    def layers(self, numbers: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """[t, n, D] of several."""
        return np.stack([self.layer(number, frames) for number in numbers], axis=1)

    def loaded(self, number: int) -> "StoredFrames":
        """One hidden state, in memory."""
        return StoredFrames(self.num_layers, {number: np.array(self._rows(number))})

    def _rows(self, number: int) -> np.ndarray:
        """Of one hidden state. A file is read whole once, and again where another process has put its own in its place."""
        rows = self._layers[number]
        if not isinstance(rows, Path):
            return rows
        opened = _open(rows)
        try:
            if opened.array.shape != self._shape:
                raise ValueError(f"shape {opened.array.shape}, {self._shape} wanted")
            if self._checked.get(number) != opened.checksum:
                opened.check()
        except ValueError as error:
            raise unreadable(rows, error) from None
        self._checked[number] = opened.checksum
        return opened.array


def _open(path: Path) -> Mapped:
    try:
        return map_checked(path, "|u1", 2)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
