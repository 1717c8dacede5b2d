"""Arrays in one file with its checksums, there as a whole or not at all, and read memory-mapped.

    128 bytes     "mert array 1 |u1 624x768 0123abcd", spaces, "89abcdef" and a line end: type and shape of the array, the checksum (CRC-32)
                  of its bytes and, last, that of the header up to there
    the rest      the array's bytes, in the order of C

Since the header has a checksum of its own, the shape can be relied on before the array was read. What replaces a file is one rename, so
that two processes that write one file cannot mix what they have.
"""

import math
import os
import re
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, NamedTuple, Tuple

import numpy as np

from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError

SUFFIX = ".array"
HEADER = 128  # bytes
FIELDS = re.compile(r"mert array 1 (\S+) (\d+(?:x\d+)*) ([0-9a-f]{8}) *")
OWN_SUM = 9  # bytes at the header's end


class Mapped(NamedTuple):
    """Attributes: array: memory-mapped, not looked at; checksum: that its bytes should have."""

    array: np.ndarray
    checksum: int

    def check(self) -> None:
        """Reads the array; raises ValueError if it is not as it was written."""
        if zlib.crc32(self.array) != self.checksum:
            raise ValueError("not as it was written")


def map_checked(path: Path, dtype: str, num_axes: int) -> Mapped:
    """The array in a file, of which the header alone was checked.

    Args:
        dtype: numpy's name with the order of bytes, as "<f2" or "|u1".

    Raises:
        OSError: missing (FileNotFoundError), or not to be read.
        ValueError: the header is not as it was written, or of another type or number of axes, or the file is cut or has more behind it.
    """
    with open(path, "rb") as file:
        header, size = file.read(HEADER), os.fstat(file.fileno()).st_size
    if len(header) < HEADER or header[-OWN_SUM:] != _own_sum(header[:-OWN_SUM]):
        raise ValueError("its header is not as it was written")
    fields = FIELDS.fullmatch(header[:-OWN_SUM].decode("ascii", "replace"))
    shape = tuple(map(int, fields[2].split("x"))) if fields else ()
    if not fields or fields[1] != dtype or len(shape) != num_axes:
        raise ValueError(f"no array of {num_axes} axes of {dtype}")
    wanted = HEADER + math.prod(shape) * np.dtype(dtype).itemsize
    if size != wanted:
        raise ValueError(f"{size} bytes, {wanted} wanted")
    return Mapped(np.memmap(path, dtype, "r", HEADER, shape), int(fields[3], 16))


def write_checked(path: Path, array: np.ndarray) -> None:
    """Puts an array in place; raises OSError where it cannot be written."""
    array = np.ascontiguousarray(array)
    with written_whole(path) as part, open(part, "wb") as file:
        file.write(_header(array))
        file.write(array.data)


@contextmanager
def filled_checked(path: Path, dtype: str, shape: Tuple[int, ...]) -> Iterator[np.ndarray]:
    """An array of zeros on disk, to be filled; at the end it is put in place.

    Raises:
        MertError: there is no room for it, all of which is taken at once.
    """
    with written_whole(path) as part:
        size = HEADER + math.prod(shape) * np.dtype(dtype).itemsize
        try:
            take_room(part, size)
        except OSError as error:
            raise no_room(part, size, error) from None
        array = np.memmap(part, dtype, "r+", HEADER, shape)
        yield array
        array.flush()
        with open(part, "r+b") as file:
            file.write(_header(array))


def take_room(path: Path, num_bytes: int) -> None:
    """Makes a file that long, its room on the disk taken: what is mapped without room kills the process that fills it."""
    with open(path, "ab") as file:
        os.posix_fallocate(file.fileno(), 0, num_bytes)


def no_room(path: Path, num_bytes: int, error: OSError) -> MertError:
    """What to raise where `take_room` failed."""
    return MertError(f"{path.parent}: {num_bytes / 1e9:.1f} GB for features cannot be taken ({error.strerror}); make room")


def _header(array: np.ndarray) -> bytes:
    text = f"mert array 1 {array.dtype.str} {'x'.join(map(str, array.shape))} {zlib.crc32(array):08x}"
    padded = text.encode().ljust(HEADER - OWN_SUM)
    return padded + _own_sum(padded)


def _own_sum(header: bytes) -> bytes:
    return f"{zlib.crc32(header):08x}\n".encode()
