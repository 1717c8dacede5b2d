"""Files that are there as a whole or not at all: written under a temporary name beside their own, and renamed.

    with written_whole(path) as part:
        part.write_text("all of it")

The temporary name is of one writer; what is left of one that was killed is removed by the next.
"""

import glob
import os
import shutil
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Optional

from mert_fairseq.errors import MertError

REPLACED = ".replaced"  # behind the name of its part: the folder that was there
ABANDONED_S = 24 * 3600  # without a write, on a machine whose processes cannot be asked for


def part_path(path: Path) -> Path:
    """.{name}.{host}.{process}.part beside `path`: of no other process, be it on another node of a shared file system."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """The temporary name to write a file or a folder under; at the end it becomes `path`, in place of what was there.

    If the writing fails it is removed, and what was there stays.
    """
    part = part_path(path.absolute())
    try:
        yield part
        _put(part, path)
    finally:
        _remove(part)


def put_in_place(path: Path) -> None:
    """The same for a file that was written under `part_path(path)` piece by piece, with others between."""
    _put(part_path(path.absolute()), path)


def write_whole(path: Path, content: bytes, mend: str, own_folder: bool = False) -> None:
    """A file of these bytes; raises MertError, which ends in `mend`, where it cannot be written.

    Args:
        own_folder: make the folder it lies in.
    """
    try:
        if own_folder:
            path.parent.mkdir(exist_ok=True)
        with written_whole(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise MertError(f"{path}: cannot be written ({error.strerror}); {mend}") from error


def remove_abandoned(folder: Path, pattern: str = ".shard-*.part") -> None:
    """Deletes the part files and folders that killed writers left: at once if they ran on this machine, else after a day.

    Args:
        pattern: of their names; "**/.*.part" finds them in all folders below.
    """
    for part in Path(folder).glob(pattern):
        writer = _writer_here(part.name)
        try:
            gone = not _runs(writer) if writer is not None else time.time() - part.stat().st_mtime > ABANDONED_S
        except FileNotFoundError:  # its writer has just finished
            continue
        if not gone:
            continue
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def restore_replaced(path: Path) -> None:
    """A folder that a writer took away, and was killed before it put the new one in place, gets its name back.

    It goes if there is one of that name again. A writer that lives, on this machine, is left alone; elsewhere this takes it no time.
    """
    path = path.absolute()
    for before in path.parent.glob(f".{glob.escape(path.name)}.*.part{REPLACED}"):
        writer = _writer_here(before.name.removesuffix(REPLACED))
        if writer is not None and _runs(writer):
            continue
        if path.exists():
            _remove(before)
            continue
        with suppress(OSError):  # what needs the folder says why it cannot be had
            os.replace(before, path)


def _writer_here(part_name: str) -> Optional[int]:
    """The process that writes under this name; None: not one of this machine."""
    name, _, process = part_name.removesuffix(".part").rpartition(".")
    return int(process) if name.endswith(f".{socket.gethostname()}") and process.isdecimal() else None


def _put(part: Path, path: Path) -> None:
    if not part.is_dir() or not path.exists():
        os.replace(part, path)
        return
    before = part.with_name(f"{part.name}{REPLACED}")  # a folder takes the place of an empty one alone
    os.replace(path, before)
    try:
        os.replace(part, path)
    finally:
        if not path.exists():  # the new one could not be put in place: keep the old
            os.replace(before, path)
        _remove(before)


def _remove(part: Path) -> None:
    """Says nothing of what cannot be removed, which would hide why the writing failed."""
    with suppress(OSError):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # of another user
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"  # ended, but nobody has asked how
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()  # outside Linux; inside it has ended since
    except OSError:  # nobody knows
        return True
