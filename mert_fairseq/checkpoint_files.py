"""Checkpoints that are there as a whole or not at all; where the disk is full, one line says so, and the one before it counts."""

import contextlib
import errno
import functools
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import torch

from mert_fairseq.errors import MertError

logger = logging.getLogger(__name__)

SUFFIX = ".part"
GO_ON = "make room, and the same command goes on from the last checkpoint"
LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)  # other faults of a disk may pass, a network's above all
TRIES, PAUSE_S = 3, 2.5  # fairseq's own


def save_whole(stock: Callable) -> Callable:
    """Takes the place of fairseq's torch_persistent_save, which tries again behind what a failed try left in the file."""

    @functools.wraps(stock)
    def torch_persistent_save(obj, filename: str, async_write: bool = False) -> None:
        if async_write:
            return stock(obj, filename, async_write=True)

        def save(part: str) -> None:
            with open(part, "wb") as file:
                torch.save(obj, file)

        fill_whole(filename, save)

    return torch_persistent_save


def copy_whole(copy: Callable) -> Callable:
    """Wraps fairseq's copy of a checkpoint to checkpoint_last.pt: a kill in the middle leaves the old one, not a part of the new."""

    @functools.wraps(copy)
    def copy_then_rename(source: str, target: str, overwrite: bool = False) -> bool:
        """fairseq's; whether it copied."""
        return fill_whole(target, lambda part: copy(source, part, overwrite=True))

    return copy_then_rename


def remove_half_written(save_dir: Path) -> None:
    """What a killed run left; only where no other one is at work."""
    for part in Path(save_dir).glob(f"checkpoint*.pt{SUFFIX}"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def full_log_stops() -> Iterator[None]:
    """While training: a log file that cannot be written stops it, rather than losing lines behind a traceback."""
    stock = logging.FileHandler.handleError  # of the class: fairseq makes the log's handler anew as it starts

    def handle_error(self: logging.FileHandler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return stock(self, record)
        raise MertError(f"{self.baseFilename}: cannot be written ({error.strerror}); {GO_ON}") from None

    logging.FileHandler.handleError = handle_error
    try:
        yield
    finally:
        logging.FileHandler.handleError = stock


def fill_whole(path: str, fill: Callable[[str], Any]) -> Any:
    """What `fill` returns, which writes under the name it is given; the file gets its own once it is on disk.

    A fault of the disk that may pass is waited for, and all is written anew.

    Raises:
        MertError: it cannot be written; what was there before stays.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            with _part_of(path) as part:
                return fill(part)
        except (OSError, RuntimeError) as error:
            reason = error if isinstance(error, OSError) else error.__context__  # torch's own hides the system's
            if getattr(reason, "errno", None) is None:
                raise
            if reason.errno in LASTING or not tries_left:
                raise MertError(f"{path}: cannot be written ({reason.strerror}); {GO_ON}") from None
            logger.warning(f"{path}: could not be written ({reason.strerror}); trying again")
            time.sleep(PAUSE_S)


@contextlib.contextmanager
def _part_of(path: str) -> Iterator[str]:
    part = f"{path}{SUFFIX}"
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):  # of a disk that became read-only, which would hide why
            Path(part).unlink(missing_ok=True)
