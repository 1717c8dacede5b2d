"""The rows of a manifest parsed as arrays: every check runs over millions of rows at once, chunk by chunk."""

import functools
import os
from pathlib import Path
from typing import Iterator, NamedTuple, Tuple

import numpy as np

from mert_fairseq.errors import MertError

CHUNK_BYTES = 1 << 20  # parsed at a time; the arrays needed on the way take some 30 times as much
MAX_ROW_BYTES = 1 << 16  # a path has at most 4096 bytes on Linux
MAX_DIGITS = 15  # 10**15 samples at 24 kHz are 1300 years
TAB, NEWLINE, SLASH, DOT, ZERO = b"\t\n/.0"
ODD = 0x9E3779B97F4A7C15  # 2**64 / golden ratio; any odd number has an inverse modulo 2**64


class Rows(NamedTuple):
    """Where the rows lie in the file's bytes."""

    buffer: np.ndarray  # uint8, the whole file with plain newlines
    starts: np.ndarray  # int64 [N + 1]: first byte of each row, and the end of the last
    path_lengths: np.ndarray  # int32 [N]: bytes of the path at the row's start
    num_samples: np.ndarray  # int64 [N]


class _Chunk(NamedTuple):
    """Whole rows out of the middle of the file; positions count from the chunk's first byte."""

    text: np.ndarray  # uint8
    starts: np.ndarray  # int64 [n]
    tabs: np.ndarray  # int64 [n]
    ends: np.ndarray  # int64 [n]: the newlines
    first_line: int  # line number of row 0


class _Fault(Exception):
    """What is wrong with which line."""


def parse_rows(buffer: np.ndarray, begin: int, path: Path, mend: str) -> Rows:
    """Parse and check the rows from byte `begin` on. `buffer` is uint8 and ends with a newline.

    Raises MertError naming `path` and the first faulty line, and saying `mend`, for a row that is not path, tab and positive
    integer, a path that is absolute, leads out of the root or comes twice, and a file without rows.
    """
    pieces = range(begin, len(buffer), CHUNK_BYTES)
    num_rows = sum(int(np.count_nonzero(buffer[place : place + CHUNK_BYTES] == NEWLINE)) for place in pieces)
    starts = np.full(num_rows + 1, len(buffer), np.int64)  # filled in place, as lists of pieces would double the memory
    path_lengths, num_samples = np.empty(num_rows, np.int32), np.empty(num_rows, np.int64)
    hashes = np.empty(num_rows, np.uint64)
    row = 0
    try:
        for offset, chunk in _chunks(buffer, begin):
            _check_paths(chunk)
            here = slice(row, row + len(chunk.starts))
            starts[here] = chunk.starts + offset
            path_lengths[here] = chunk.tabs - chunk.starts
            num_samples[here] = _num_samples(chunk)
            hashes[here] = _path_hashes(chunk)
            row = here.stop
        rows = Rows(buffer, starts, path_lengths, num_samples)
        _check_duplicates(rows, hashes)
    except _Fault as fault:
        raise MertError(f"{path}: {fault}; {mend}") from None
    if not num_rows:
        raise MertError(f"{path}: no rows; expected lines of path, tab and number of samples; {mend}")
    num_samples.flags.writeable = False
    return rows


def _chunks(buffer: np.ndarray, begin: int) -> Iterator[Tuple[int, _Chunk]]:
    """(offset in the file, chunk) of consecutive whole rows, each with exactly one tab."""
    line = 2
    while begin < len(buffer):
        text = np.asarray(buffer[begin : begin + CHUNK_BYTES])
        ends = np.flatnonzero(text == NEWLINE)
        if not len(ends):
            raise _Fault(f"line {line} has more than {CHUNK_BYTES} bytes; expected path, tab and number of samples")
        text = text[: ends[-1] + 1]
        starts = np.concatenate([[0], ends[:-1] + 1])
        tabs = np.flatnonzero(text == TAB)
        if len(tabs) != len(ends) or not ((tabs >= starts) & (tabs < ends)).all():
            _refuse_tabs(tabs, ends, line)
        yield begin, _Chunk(text, starts, tabs, ends, line)
        begin += len(text)
        line += len(ends)


def _refuse_tabs(tabs: np.ndarray, ends: np.ndarray, line: int) -> None:
    per_row = np.bincount(np.searchsorted(ends, tabs), minlength=len(ends))
    row = int(np.flatnonzero(per_row != 1)[0])
    raise _Fault(f"line {line + row} has {per_row[row]} tabs; expected one, between path and number of samples")


def _num_samples(chunk: _Chunk) -> np.ndarray:
    """The integers behind the tabs: int64 [n], digit column by digit column from the right."""
    num_digits = chunk.ends - chunk.tabs - 1
    well_formed = (num_digits >= 1) & (num_digits <= MAX_DIGITS)
    values = np.zeros(len(num_digits), np.int64)
    for column in range(min(int(num_digits.max()), MAX_DIGITS)):
        rows = np.flatnonzero(num_digits > column)
        digits = chunk.text[chunk.ends[rows] - 1 - column].astype(np.int64) - ZERO
        well_formed[rows] &= (digits >= 0) & (digits <= 9)
        values[rows] += digits * 10**column
    well_formed &= values > 0
    if not well_formed.all():
        row = int(np.argmin(well_formed))
        found = os.fsdecode(chunk.text[chunk.tabs[row] + 1 : chunk.ends[row]].tobytes()[:40])
        raise _Fault(f"line {chunk.first_line + row} has the length {found!r}; expected a positive whole number of samples")
    return values


def _check_paths(chunk: _Chunk) -> None:
    """Refuse empty, overlong and absolute paths, and `..` that climbs above the root."""
    lengths = chunk.tabs - chunk.starts
    faulty = (lengths == 0) | (lengths > MAX_ROW_BYTES) | (chunk.text[chunk.starts] == SLASH)
    for row in np.unique(np.searchsorted(chunk.ends, _parent_steps(chunk.text))):
        faulty[row] |= os.path.normpath(_path_in(chunk, row)).split(os.sep)[0] == ".."
    if faulty.any():
        row = int(np.argmax(faulty))
        found = _path_in(chunk, row)[:200]
        raise _Fault(f"line {chunk.first_line + row} has the path {found!r}; expected one relative to the root and inside it")


def _parent_steps(text: np.ndarray) -> np.ndarray:
    """Where a path has `..` as a whole component; a chunk begins with a row and ends with a newline."""
    places = np.flatnonzero((text[:-2] == DOT) & (text[1:-1] == DOT))
    before, after = text[places - 1], text[places + 2]  # place 0 looks at the chunk's last byte, a newline
    return places[((before == SLASH) | (before == NEWLINE)) & ((after == SLASH) | (after == TAB))]


def _path_in(chunk: _Chunk, row: int) -> str:
    return os.fsdecode(chunk.text[chunk.starts[row] : chunk.tabs[row]].tobytes())


def _path_hashes(chunk: _Chunk) -> np.ndarray:
    """A 64-bit number per path, the same for equal paths: sum of code[byte] * odd**place modulo 2**64; uint64 [n]."""
    codes = np.random.default_rng(0).integers(0, 2**64, 256, np.uint64)
    weighted = codes[chunk.text] * _powers(ODD)[: len(chunk.text)]
    bounds = np.stack([chunk.starts, chunk.tabs], axis=1).ravel()
    sums = np.add.reduceat(weighted, bounds)[::2]
    return sums * _powers(pow(ODD, -1, 2**64))[chunk.starts]  # as if every path began at place 0


@functools.cache
def _powers(base: int) -> np.ndarray:
    """base**0 .. base**(CHUNK_BYTES - 1) modulo 2**64."""
    factors = np.full(CHUNK_BYTES, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def _check_duplicates(rows: Rows, hashes: np.ndarray) -> None:
    """Refuse a path that comes twice. Equal hashes are looked up, so a chance match is no fault."""
    in_order = np.sort(hashes)
    if (in_order[1:] != in_order[:-1]).all():
        return
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    for first, second in zip(order[same], order[same + 1]):
        names = [rows.buffer[rows.starts[row] : rows.starts[row] + rows.path_lengths[row]].tobytes() for row in (first, second)]
        if names[0] == names[1]:
            found = os.fsdecode(names[0])[:200]
            raise _Fault(f"line {second + 2} has the same path as line {first + 2}, {found!r}; expected every file once")
