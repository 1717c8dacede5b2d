"""What is fuzzed: one file among sound ones, and everything that the package reads of it. Anything but MertError is a fault."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from sound_files import Files

from mert_fairseq.errors import MertError


@dataclass(frozen=True)
class Reader:
    """Attributes: the sound files, the one of them that is fuzzed, what reads the folder they lie in."""

    files: Callable[[], Files]
    fuzzed: str
    read: Callable[[Path], object]

    @property
    def seed(self) -> bytes:
        """The fuzzed file as it should be."""
        return self.files()[self.fuzzed]

    def prepare(self, folder: Path) -> None:
        """Writes the sound files."""
        for name, data in self.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)

    def give(self, folder: Path, data: bytes) -> "str | None":
        """The refusal of the file with these bytes, or None where it was read; raises whatever else comes of it."""
        (folder / self.fuzzed).write_bytes(data)
        try:
            self.read(folder)
        except MertError as error:
            return str(error)
        return None
