"""Whether a file that is read in pieces, or remembered, is still the one it was."""

import os
from typing import Tuple

from mert_fairseq.data.audio_file import AudioError, PathLike

FileState = Tuple[int, ...]


def file_state(path: PathLike) -> FileState:
    """(bytes, time of the last change in ns), of which another file in its place has others; () where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns


def refuse_changed(path: PathLike, before: FileState) -> None:
    """Raises AudioError for a file that is not as it was before it was read: what was read may be of two files."""
    if file_state(path) != before:
        mend = "let what writes to it end, and give the same command again"
        raise AudioError(f"{path}: changed while it was read; {mend}", "changed")
