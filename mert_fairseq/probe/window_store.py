"""Features of windows on disk, made once and found again by whoever asks for the same window of the same file.

    FOLDER/store.json     version, shape of a row
    FOLDER/rows.f32       float32 rows, one behind the other
    FOLDER/index.tsv      one line per row: its key

A row counts once its line is in the index, which is written behind it: what a killed process leaves half-written is cut off. One process
writes at a time, others wait; readers need no lock.
"""

import fcntl
import json
import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

import numpy as np

from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError

logger = logging.getLogger(__name__)

VERSION = 1


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
        content, path = {"version": VERSION, "shape": list(shape)}, folder / "store.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                with written_whole(path) as part:
                    part.write_text(json.dumps(content) + "\n", encoding="utf-8")
            found = json.loads(path.read_text(encoding="utf-8"))
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
            keys = self._keys()
            os.truncate(_made(self._index), sum(len(key.encode()) + 1 for key in keys))
            os.truncate(_made(self._rows), len(keys) * self._row_bytes)
            yield self

    def add(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Rows [n, *shape] under their keys; only within `writing`. Raises OSError, with nothing counted, on a full disk."""
        with open(self._rows, "ab") as file:
            file.write(np.ascontiguousarray(rows, "<f4").tobytes())
        with open(self._index, "a", encoding="utf-8") as file:
            file.write("".join(f"{key}\n" for key in keys))

    def places(self) -> Dict[str, int]:
        """Number of each key's row."""
        return {key: row for row, key in enumerate(self._keys())}

    def rows(self) -> np.ndarray:
        """All rows [n, *shape], on disk."""
        count = len(self._keys())
        if not count:
            return np.empty((0, *self.shape), np.float32)
        return np.memmap(self._rows, "<f4", mode="r", shape=(count, *self.shape))

    @property
    def _rows(self) -> Path:
        return self.folder / "rows.f32"

    @property
    def _index(self) -> Path:
        return self.folder / "index.tsv"

    def _keys(self) -> List[str]:
        """Of whole lines whose rows are there."""
        if not self._index.exists():
            return []
        *lines, _ = self._index.read_text(encoding="utf-8").split("\n")
        size = self._rows.stat().st_size if self._rows.exists() else 0
        return lines[: size // self._row_bytes]


def _made(path: Path) -> Path:
    path.touch()
    return path
