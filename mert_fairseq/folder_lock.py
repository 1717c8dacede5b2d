"""The sole right to write in a folder: of one process at a time, freed by the system when that process ends, however it does.

    FOLDER/.lock      says who has the right; the file stays, what counts is the lock on it
"""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import time
from pathlib import Path
from typing import Iterator, Optional

from mert_fairseq.errors import MertError

logger = logging.getLogger(__name__)

NAME = ".lock"
TAKEN = (errno.EAGAIN, errno.EACCES)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
PAUSE_S = 0.2


@contextlib.contextmanager
def sole_use(folder: Path, mend: str, wait_s: float = 0.0) -> Iterator[None]:
    """Holds the right; makes the folder if it is missing.

    The lock is POSIX's, which is of the process alone: children by fork that outlive it do not keep it, and network file systems have it.

    Args:
        mend: what to do where another process has it.
        wait_s: how long that one is waited for.

    Raises:
        MertError: another process has it, on whatever machine, or the folder or its lock cannot be written.
    """
    path = Path(folder) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if os.path.lexists(path):  # another user's, who may write alone
            raise MertError(
                f"{path}: cannot be opened ({error.strerror}); give another folder, or have its owner let you write it"
            ) from None
        raise MertError(f"{folder}: cannot be written ({error.strerror}); give another folder, or get the right to write there") from None
    try:
        _take(file, path.parent, mend, wait_s)
        yield
    finally:
        os.close(file)


def _take(file: int, folder: Path, mend: str, wait_s: float) -> None:
    begun, told = time.monotonic(), False
    while True:
        holder = _other_holder(file, folder)
        if holder is None:
            return
        if time.monotonic() - begun >= wait_s:
            raise MertError(f"{folder}: in use by {holder}; {mend}")
        if not told:
            logger.warning(f"{folder}: in use by {holder}; waiting for it")
            told = True
        time.sleep(PAUSE_S)


def _other_holder(file: int, folder: Path) -> Optional[str]:
    """Who has the lock; None: this process, from now on."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return os.pread(file, 1000, 0).decode("utf-8", "replace").strip() or "another process"
        if error.errno not in NO_LOCKS:
            raise MertError(f"{folder / NAME}: cannot be locked ({error.strerror}); see to the disk, or give another folder") from None
        logger.warning(f"{folder}: its file system has no locks ({error.strerror}); see to it that nothing else writes there")
        return None
    job = os.environ.get("SLURM_JOB_ID")
    own = f"process {os.getpid()} on {socket.gethostname()}" + (f", Slurm job {job}" if job else "")
    with contextlib.suppress(OSError):  # a full disk: others are told that there is a process, not which
        os.ftruncate(file, 0)
        os.pwrite(file, own.encode(), 0)
    return None
