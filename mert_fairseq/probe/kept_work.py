"""What a probe has finished, kept so that a killed one goes on and two processes can share the work.

    WORK/settings.json       what all that is kept depends on
    WORK/<name>.json         one finished piece
    WORK/<name>.npy          its array, where it has one; written first
    WORK/<name>.lock         held while a process works on it; the system frees it when the process ends, however
"""

import fcntl
import io
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

import numpy as np

from mert_fairseq.data.part_files import remove_abandoned, write_whole
from mert_fairseq.errors import MertError

GOES_ON = "make room, and the same command goes on"


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
                write_whole(self.folder / "settings.json", json_bytes(wanted), GOES_ON)
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
        path = self.folder / f"{name}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise MertError(f"{path}: cannot be read ({error}); remove it, and the same command makes it again") from None

    def read_array(self, name: str) -> np.ndarray:
        """The array of a finished piece."""
        path = self.folder / f"{name}.npy"
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            json_path = path.with_suffix(".json").name
            raise MertError(f"{path}: cannot be read ({error}); remove it and {json_path}, and the same command makes them again") from None

    def write(self, name: str, content: Dict[str, Any], array: Optional[np.ndarray] = None) -> None:
        """Keeps a finished piece; it is there as a whole or not at all."""
        if array is not None:
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            write_whole(self.folder / f"{name}.npy", buffer.getvalue(), GOES_ON)
        write_whole(self.folder / f"{name}.json", json_bytes(content), GOES_ON)


def json_bytes(content: Dict[str, Any]) -> bytes:
    """Text of a JSON file; raises ValueError for numbers that JSON does not have."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
