"""Features of windows on disk, made once and found again by whoever asks for the same window of the same file.

    FOLDER/store.json     version, shape of a row
    FOLDER/rows.f32       float32 rows, one behind the other
    FOLDER/index.tsv      one line per row: its number, checksums (CRC-32) of the row and of its key, its key

A row counts once its line is in the index, which is written behind it: what a killed process leaves half-written is cut off. One process
writes at a time, others wait; readers need no lock.
"""

import fcntl
import json
import logging
import os
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

import numpy as np

from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.json_text import parse_json

logger = logging.getLogger(__name__)

VERSION = 2


class WindowStore:
    """Rows of one shape, by key.

    Args:
        folder: made if missing.
        shape: of a row, [L + 1, D].

    Raises:
        MertError: the folder holds rows of another shape, or cannot be written.
    """

    def __init__(self, folder: Path, shape: Tuple[int, ...]):
        self.folder, self.shape = folder, tuple(shape)
        self._row_bytes = 4 * int(np.prod(shape))
        self._told: Set[int] = set()
        content, path = {"version": VERSION, "shape": list(shape)}, folder / "store.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                with written_whole(path) as part:
                    part.write_text(json.dumps(content) + "\n", encoding="utf-8")
            found = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise MertError(f"{path}: cannot be read or written ({error}); remove {folder}, or give another --cache") from None
        if found != content:
            raise MertError(f"{path}: holds {found}, wanted {content}; remove {folder}, or give another --cache")

    @contextmanager
    def writing(self) -> Iterator["WindowStore"]:
        """The right to add rows; waits until no other process has it. What a killed one left half-written is cut off."""
        with open(self.folder / "lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info(f"{self.folder}: another process hears with this encoder; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            lines = self._lines()
            os.truncate(_made(self._index), sum(len(line.encode("utf-8", "surrogateescape")) + 1 for line in lines))
            os.truncate(_made(self._rows), len(lines) * self._row_bytes)
            yield self

    def add(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Rows [n, *shape] under their keys; only within `writing`. Raises OSError, with nothing counted, on a full disk."""
        first = os.path.getsize(self._rows) // self._row_bytes
        sums = [zlib.crc32(np.ascontiguousarray(row, "<f4").tobytes()) for row in rows]
        with open(self._rows, "ab") as file:
            file.write(np.ascontiguousarray(rows, "<f4").tobytes())
        lines = (f"{number}\t{checksum:08x}{_key_sum(key)}\t{key}\n" for number, (checksum, key) in enumerate(zip(sums, keys), first))
        with open(self._index, "a", encoding="utf-8") as file:
            file.write("".join(lines))

    def places(self) -> Dict[str, int]:
        """Number of each key's row; a key that has not its checksum is left out, so that its window is heard again.

        Raises:
            MertError: lines are missing from the index, or it is none.
        """
        return {key: row for row, (_, key) in enumerate(self._entries()) if key is not None}

    def check(self, numbers: Iterable[int]) -> None:
        """Raises MertError if one of those rows does not have its checksum."""
        rows, entries = self.rows(), self._entries()
        for number in sorted(set(numbers)):
            if f"{zlib.crc32(np.ascontiguousarray(rows[number]).tobytes()):08x}" != entries[number][0]:
                raise MertError(f"{self._rows}: row {number} was changed since it was written; remove {self.folder} to hear all again")

    def rows(self) -> np.ndarray:
        """All rows [n, *shape], on disk."""
        count = len(self._lines())
        if not count:
            return np.empty((0, *self.shape), np.float32)
        return np.memmap(self._rows, "<f4", mode="r", shape=(count, *self.shape))

    @property
    def _rows(self) -> Path:
        return self.folder / "rows.f32"

    @property
    def _index(self) -> Path:
        return self.folder / "index.tsv"

    def _entries(self) -> List[Tuple[str, Optional[str]]]:
        """(checksum, key) of each row; None for a damaged key. Lines of earlier versions have no checksum of the key."""
        found = []
        for row, line in enumerate(self._lines()):
            number, _, rest = line.partition("\t")
            checksums, tab, key = rest.partition("\t")
            if number != str(row) or not tab:
                raise MertError(f"{self._index}: line {row + 1} was changed since it was written; remove {self.folder} to hear all again")
            sound = checksums[8:] in ("", _key_sum(key))
            if not sound and row not in self._told:
                logger.warning(f"{self._index}: line {row + 1} is not as it was written; its window is heard again")
                self._told.add(row)
            found.append((checksums[:8], key if sound else None))
        return found

    def _lines(self) -> List[str]:
        """Whole lines whose rows are there."""
        if not self._index.exists():
            return []
        *lines, _ = self._index.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        size = self._rows.stat().st_size if self._rows.exists() else 0
        return lines[: size // self._row_bytes]


def _key_sum(key: str) -> str:
    return f"{zlib.crc32(key.encode('utf-8', 'surrogateescape')):08x}"


def _made(path: Path) -> Path:
    path.touch()
    return path
