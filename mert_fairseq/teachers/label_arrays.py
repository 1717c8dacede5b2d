"""Codes of other programs as numpy files: one flat array per codebook, or one array per audio file."""

import hashlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from mert_fairseq.data.array_files import map_array
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.errors import MertError
from mert_fairseq.frames import frame_span

MAX_CLASSES = 1 << 16  # codes are stored as uint16
BLOCK_BYTES = 1 << 20  # hashed at a time


def row_offsets(manifest: Manifest, label_rate: float) -> np.ndarray:
    """Where each row begins in a flat array, int64 [N + 1], every row having ceil(S x rate / 24000) frames."""
    return np.concatenate([[0], np.cumsum(frame_span(manifest.num_samples, label_rate)[1])])


def open_codes(path: Path) -> np.ndarray:
    """A .npy file of whole numbers, memory-mapped. Raises MertError for one that is missing, damaged, pickled or of other numbers."""
    mend = "save plain arrays of whole numbers (numpy.save), or text"
    try:
        array = map_array(path)
    except FileNotFoundError:
        raise MertError(f"{path}: no such file of codes") from None
    except (ValueError, OSError) as error:
        raise MertError(f"{path}: not a plain array, or damaged ({error}); pickled objects are not read; {mend}") from None
    if array.dtype.kind not in "iu":
        raise MertError(f"{path}: holds {array.dtype}, whole numbers allowed; {mend}")
    return array


def check_range(codes: np.ndarray, num_classes: Sequence[int], where: str) -> None:
    """Refuses codes [T, K] outside 0 .. V - 1 of their codebook."""
    if len(codes) == 0:
        return
    smallest, largest = codes.min(axis=0), codes.max(axis=0)
    wrong = (smallest < 0) | (largest >= np.asarray(num_classes))
    if wrong.any():
        codebook = int(wrong.argmax())
        code = smallest[codebook] if smallest[codebook] < 0 else largest[codebook]
        allowed = f"0 to {num_classes[codebook] - 1} allowed by --num-classes {num_classes[codebook]}"
        raise MertError(f"{where}: code {code} of codebook {codebook}; {allowed}")


class FlatLabels:
    """One codebook as a flat array: the rows' codes one after another, ceil(S x rate / 24000) each.

    Args:
        path: the .npy file.
        num_classes: V.
        offsets: `row_offsets` of the manifest.

    Attributes:
        sha256: of the file's bytes.

    Raises:
        MertError: not a flat array of whole numbers, or not exactly as long as the manifest's rows.
    """

    def __init__(self, path: Path, num_classes: int, offsets: np.ndarray):
        self.path, self.num_classes, self._offsets = Path(path), num_classes, offsets
        self._array = open_codes(self.path)
        if self._array.ndim != 1:
            raise MertError(f"{path}: shape {self._array.shape}, one flat array [frames] needed; save the rows' codes concatenated")
        if len(self._array) != offsets[-1]:
            found = f"{len(self._array)} codes, the manifest's {len(offsets) - 1} rows need exactly {offsets[-1]}"
            raise MertError(f"{path}: {found}, so its rows cannot be told apart; import text labels or --npy-dir instead")
        digest = hashlib.sha256()
        with open(self.path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
        self.sha256 = digest.hexdigest()

    def rows(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Codes [T] uint16 of rows start .. stop - 1. MertError names a row with a code outside 0 .. V - 1."""
        for row in range(start, stop):
            codes = self._array[self._offsets[row] : self._offsets[row + 1]]
            check_range(codes[:, None], [self.num_classes], f"{self.path}: row {row}")
            yield codes.astype(np.uint16)


class FolderLabels:
    """One array [T, K] or [K, T] per audio file, at the audio's path below `folder` with the suffix .npy.

    Which axis is time is told, once for all files, from the first one whose shape fits its audio in one way only.

    Args:
        num_classes: V of all codebooks, or one for each.

    Raises:
        MertError: no file fits its audio, or `num_classes` does not suit the codebooks.
    """

    def __init__(self, folder: Path, manifest: Manifest, num_classes: Sequence[int], label_rate: float):
        self.folder, self.manifest, self._label_rate = Path(folder), manifest, label_rate
        self._time_axis = 0  # until it is known; of arrays with two axes it does not matter
        self._time_axis, self.width = self._orientation()
        self.num_classes: List[int] = list(num_classes) * (self.width if len(num_classes) == 1 else 1)
        if len(self.num_classes) != self.width:
            raise MertError(f"--num-classes has {len(num_classes)} numbers, {folder} {self.width} codebooks; give one, or one for each")
        if not all(1 <= size <= MAX_CLASSES for size in self.num_classes):
            raise MertError(f"--num-classes {self.num_classes}: 1 to {MAX_CLASSES} allowed")
        self.settings: Dict[str, Any] = {"layout": "one array per file", "source": str(self.folder.resolve())}

    def where(self, row: int) -> str:
        """The file of a row."""
        return str(self._path(row))

    def rows(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Codes [T, K] uint16 of rows start .. stop - 1; T is 0 where a file is missing or empty. MertError names a wrong file."""
        for row in range(start, stop):
            codes = self._open(row)
            if codes is None or codes.size == 0:
                yield np.zeros((0, self.width), np.uint16)
                continue
            codes = codes.T if self._time_axis == 1 else codes
            if codes.shape[1] != self.width:
                found = f"{codes.shape[1]} codebooks, other files have {self.width}"
                raise MertError(f"{self.where(row)}: {found}; make all files with one setting and axis {self._time_axis} as time")
            check_range(codes, self.num_classes, self.where(row))
            yield codes.astype(np.uint16)

    def _path(self, row: int) -> Path:
        return (self.folder / self.manifest.relative_path(row)).with_suffix(".npy")

    def _open(self, row: int) -> Optional[np.ndarray]:
        """The array as two axes, or None if there is no file."""
        path = self._path(row)
        if not path.is_file():
            return None
        array = open_codes(path)
        if array.ndim not in (1, 2):
            raise MertError(f"{path}: shape {array.shape}, [frames, codebooks] or [codebooks, frames] needed; drop the other axes")
        return array if array.ndim == 2 else np.expand_dims(array, 1 - self._time_axis)

    def _orientation(self) -> Tuple[int, int]:
        """(axis of time, number of codebooks)."""
        seen = "no file of its rows is there"
        for row in range(len(self.manifest)):
            codes = self._open(row)
            if codes is None:
                continue
            low, high = frame_span(int(self.manifest.num_samples[row]), self._label_rate)
            fitting = [axis for axis in (0, 1) if low - 1 <= codes.shape[axis] <= high + 1]
            if len(fitting) == 1 and codes.shape[1 - fitting[0]] > 0:
                return fitting[0], codes.shape[1 - fitting[0]]
            seen = f"e.g. {self._path(row)} has shape {codes.shape}, its audio {low} to {high} frames at {self._label_rate:g} Hz"
        raise MertError(f"{self.folder}: the arrays do not tell which axis is time, {seen}; check SOURCE_DIR and --label-rate")
