"""What a probe has finished, kept so that a killed one goes on and two processes can share the work.

    WORK/settings.json       what all that is kept depends on
    WORK/<name>.json         one finished piece, with its own hash and the checksum of its array
    WORK/<name>.npy          its array, where it has one; written first
    WORK/<name>.lock         held while a process works on it; the system frees it when the process ends, however
"""

import fcntl
import io
import json
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

import numpy as np

from mert_fairseq.data.array_files import map_array
from mert_fairseq.data.part_files import remove_abandoned, write_whole
from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import KEY, is_unchanged, with_hash
from mert_fairseq.json_text import parse_json

GOES_ON = "make room, and the same command goes on"
ARRAY_SUM = "array_crc32"


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
        wanted = json.loads(json.dumps(settings))
        with self.claimed("settings"):
            found = self.read("settings")
            if found is None:
                self.write("settings", wanted)
            elif found != wanted:
                name = next(name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name))
                unlike = f"{name} {_short(found.get(name))}, now {_short(wanted.get(name))}"
                raise MertError(f"{self.folder}: begun with {unlike}; give another folder, or remove this one to begin anew")

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
        """A finished piece; None if it is not finished."""
        content = self._read(name)
        return None if content is None else {key: value for key, value in content.items() if key not in (KEY, ARRAY_SUM)}

    def _read(self, name: str) -> Optional[Dict[str, Any]]:
        """The same, with its hash and its array's checksum."""
        path = self.folder / f"{name}.json"
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from None
        if not isinstance(content, dict):
            raise unreadable(path, "no object")
        if not is_unchanged(content):
            raise unreadable(path, "it was changed since it was written")
        return content

    def read_array(self, name: str) -> np.ndarray:
        """The array of a finished piece."""
        path = self.folder / f"{name}.npy"
        try:
            array, content = np.array(map_array(path)), self._read(name)
        except (OSError, ValueError) as error:
            raise unreadable(path, error, with_json=True) from None
        if content is None or content.get(ARRAY_SUM) != zlib.crc32(array):
            raise unreadable(path, "not as it was written", with_json=True)
        return array

    def write(self, name: str, content: Dict[str, Any], array: Optional[np.ndarray] = None) -> None:
        """Keeps a finished piece; it is there as a whole or not at all."""
        if array is not None:
            array, buffer = np.ascontiguousarray(array), io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            write_whole(self.folder / f"{name}.npy", buffer.getvalue(), GOES_ON)
            content = {**content, ARRAY_SUM: zlib.crc32(array)}
        write_whole(self.folder / f"{name}.json", json_bytes(with_hash(content)), GOES_ON)


def unreadable(path: Path, why: object, with_json: bool = False) -> MertError:
    """What to raise for a kept file; of an array, whose JSON must go with it."""
    if with_json:
        return MertError(f"{path}: cannot be read ({why}); remove it and {path.stem}.json, and the same command makes them again")
    return MertError(f"{path}: cannot be read ({why}); remove it, and the same command makes it again")


def json_bytes(content: Dict[str, Any]) -> bytes:
    """Text of a JSON file; raises ValueError for numbers that JSON does not have."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
