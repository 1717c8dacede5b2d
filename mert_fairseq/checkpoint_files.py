"""Checkpoints that are there as a whole or not at all; where the disk is full, one line says so, and the one before it counts."""

import contextlib
import functools
import logging
import os
import sys
from pathlib import Path
from typing import Callable, Iterator

import torch

from mert_fairseq.errors import MertError

SUFFIX = ".part"
GO_ON = "make room, and the same command goes on from the last checkpoint"


def save_whole(stock: Callable) -> Callable:
    """Takes the place of fairseq's torch_persistent_save, which tries again behind what a failed try left in the file."""

    @functools.wraps(stock)
    def torch_persistent_save(obj, filename: str, async_write: bool = False) -> None:
        if async_write:
            return stock(obj, filename, async_write=True)
        with part_of(filename) as part:
            with open(part, "wb") as file:
                torch.save(obj, file)

    return torch_persistent_save


def copy_whole(copy: Callable) -> Callable:
    """Wraps fairseq's copy of a checkpoint to checkpoint_last.pt: a kill in the middle leaves the old one, not a part of the new."""

    @functools.wraps(copy)
    def copy_then_rename(source: str, target: str, overwrite: bool = False) -> bool:
        """fairseq's; whether it copied."""
        with part_of(target) as part:
            return copy(source, part, overwrite=True)

    return copy_then_rename


def remove_half_written(save_dir: Path) -> None:
    """What a killed run left; only where no other one is at work."""
    for part in Path(save_dir).glob(f"checkpoint*.pt{SUFFIX}"):
        part.unlink(missing_ok=True)


def stop_when_full(handle: Callable) -> Callable:
    """Wraps what a log file does with an error: one that cannot be written stops training, rather than losing lines behind a traceback."""

    @functools.wraps(handle)
    def handle_error(self: logging.FileHandler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return handle(self, record)
        raise MertError(f"{self.baseFilename}: cannot be written ({error.strerror}); {GO_ON}") from None

    return handle_error


@contextlib.contextmanager
def part_of(path: str) -> Iterator[str]:
    """A name to write under; what is written there gets its own once it is on disk."""
    part = f"{path}{SUFFIX}"
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        reason = error if isinstance(error, OSError) else error.__context__  # torch's own hides the system's
        if getattr(reason, "errno", None) is None:
            raise
        raise MertError(f"{path}: cannot be written ({reason.strerror}); {GO_ON}") from None
    finally:
        Path(part).unlink(missing_ok=True)
