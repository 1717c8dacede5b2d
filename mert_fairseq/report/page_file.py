"""A page on disk, and its pictures as files of their own beside it."""

from pathlib import Path

from mert_fairseq.data.part_files import write_whole
from mert_fairseq.report.html import picture


class PageFile:
    """`report.html`, and its pictures in `report_pictures/`.

    Args:
        path: of the page.
        option: where the command line names another place.
    """

    def __init__(self, path: Path, option: str = "--page") -> None:
        self.path, self._mend = Path(path), f"name another place with {option}"
        self.folder = self.path.with_name(f"{self.path.stem}_pictures")

    def picture(self, name: str, png: bytes, description: str, kind: str = "curves") -> str:
        """Writes NAME.png and returns the HTML that embeds it.

        Raises:
            MertError: it cannot be written.
        """
        write_whole(self.folder / f"{name}.png", png, self._mend, own_folder=True)
        return picture(png, description, kind)

    def write(self, text: str) -> None:
        """Writes the page; who looks at it meanwhile sees the old one or the new."""
        write_whole(self.path, text.encode("utf-8"), self._mend)
