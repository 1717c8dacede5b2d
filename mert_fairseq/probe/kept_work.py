"""What a probe has finished, kept so that a killed one goes on and two processes can share the work.

    WORK/settings.json       what all that is kept depends on
    WORK/<name>.json         one finished piece, with its own hash and the checksum of its array's file; see `kept_json`
    WORK/<name>.npy          its array, where it has one; written first
    WORK/<name>.lock         held while a process works on it; the system frees it when the process ends, however
"""

import fcntl
import io
import json
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, TypeVar

import numpy as np

from mert_fairseq.data.array_files import map_array
from mert_fairseq.data.part_files import remove_abandoned, write_whole
from mert_fairseq.errors import MertError
from mert_fairseq.probe.kept_json import GOES_ON, read_kept, say_undone, unlike_before, unreadable, write_kept

FILE_SUM = "array_file_crc32"
SETTINGS = "settings"
Kind = TypeVar("Kind")


class KeptWork:
    """Finished pieces of one run.

    Args:
        folder: made if missing.
        settings: of the run, values that JSON has.

    Raises:
        MertError: the folder was begun with other settings, or cannot be read or written.
    """

    def __init__(self, folder: Path, settings: Dict[str, Any]):
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MertError(f"{folder}: cannot be made ({error.strerror}); give another folder") from None
        remove_abandoned(self.folder, ".*.part")
        with self.claimed(SETTINGS):
            has_work = any(path.stem != SETTINGS for path in self.folder.glob("*.json"))
            unlike = unlike_before(self._json(SETTINGS), settings, has_work)
        if unlike:
            name, (before, now) = next(iter(unlike.items()))
            said = f"{name} {_short(before)}, now {_short(now)}"
            raise MertError(f"{self.folder}: begun with {said}; give another folder, or remove this one to begin anew")

    @contextmanager
    def claimed(self, name: str, wait: bool = True) -> Iterator[bool]:
        """The sole right to work on a piece; False where another process has it and is not waited for."""
        with open(self.folder / f"{name}.lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    def read(self, name: str) -> Optional[Dict[str, Any]]:
        """A finished piece; None if it is not finished, or without a checksum, as earlier versions kept it.

        Raises:
            MertError: it is not as it was written.
        """
        content = read_kept(self._json(name))
        if content is not None and content.pop(FILE_SUM, None) is None and self._npy(name).exists():
            say_undone(self._npy(name))
            return None
        return content

    def read_as(self, name: str, kind: Callable[..., Kind]) -> Kind:
        """What `kind` makes of the values of a finished piece; raises MertError where they are not those that it takes."""
        try:
            return kind(**(self.read(name) or {}))
        except TypeError:
            raise unreadable(self._json(name), "it does not hold what this version keeps there") from None

    def read_array(self, name: str) -> np.ndarray:
        """The array of a finished piece; raises MertError where it is not as it was written."""
        path, content = self._npy(name), read_kept(self._json(name)) or {}
        try:
            if zlib.crc32(path.read_bytes()) != content.get(FILE_SUM):
                raise ValueError("not as it was written")
            return np.array(map_array(path))
        except (OSError, ValueError) as error:
            mend = f"remove it and {path.stem}.json, and the same command makes them again"
            raise unreadable(path, error, mend) from None

    def write(self, name: str, content: Dict[str, Any], array: Optional[np.ndarray] = None) -> None:
        """Keeps a finished piece; it is there as a whole or not at all."""
        if array is not None:
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            write_whole(self._npy(name), buffer.getvalue(), GOES_ON)
            content = {**content, FILE_SUM: zlib.crc32(buffer.getvalue())}
        write_kept(self._json(name), content)

    def _json(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _npy(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
