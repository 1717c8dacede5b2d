"""Temporary files and folders beside what they will become: one name per writer, and the removal of those whose writer was killed."""

import os
import shutil
import socket
import time
from pathlib import Path

ABANDONED_S = 24 * 3600  # without a write, on a machine whose processes cannot be asked for


def part_path(path: Path) -> Path:
    """.{name}.{host}.{process}.part beside `path`: of no other process, be it on another node of a shared file system."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")


def remove_abandoned(folder: Path, pattern: str = ".shard-*.part") -> None:
    """Deletes the part files and folders that killed writers left: at once if they ran on this machine, else after a day.

    Args:
        pattern: of their names; "**/.*.part" finds them in all folders below.
    """
    host = socket.gethostname()
    for part in Path(folder).glob(pattern):
        name, _, process = part.name.removesuffix(".part").rpartition(".")
        try:
            here = name.endswith(f".{host}") and process.isdecimal()
            gone = not _runs(int(process)) if here else time.time() - part.stat().st_mtime > ABANDONED_S
        except FileNotFoundError:  # its writer has just finished
            continue
        if not gone:
            continue
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
    return True
