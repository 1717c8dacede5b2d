"""A page on disk, and its pictures as files of their own beside it."""

import os
from pathlib import Path
from typing import Optional

from mert_fairseq.errors import MertError
from mert_fairseq.report.html import picture


class PageFile:
    """`report.html`, and its pictures in `report_pictures/`.

    Args:
        path: of the page.
        option: where the command line names another place.
    """

    def __init__(self, path: Path, option: str = "--page") -> None:
        self.path, self._option = Path(path), option
        self.folder = self.path.with_name(f"{self.path.stem}_pictures")

    def picture(self, name: str, png: bytes, description: str, kind: str = "curves") -> str:
        """Writes NAME.png and returns the HTML that embeds it.

        Raises:
            MertError: it cannot be written.
        """
        self._write(self.folder / f"{name}.png", png, self.folder)
        return picture(png, description, kind)

    def write(self, text: str) -> None:
        """Writes the page; who looks at it meanwhile sees the old one or the new."""
        self._write(self.path, text.encode("utf-8"))

    def _write(self, path: Path, content: bytes, folder: Optional[Path] = None) -> None:
        part = path.with_name(f"{path.name}.part")
        try:
            if folder is not None:
                folder.mkdir(exist_ok=True)
            part.write_bytes(content)
            os.replace(part, path)
        except OSError as error:
            raise MertError(f"{path}: cannot be written ({error.strerror}); name another place with {self._option}") from error
