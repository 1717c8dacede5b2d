"""HuBERT's text labels: one line of space-separated symbols per manifest row, and fairseq's dictionaries of those symbols.

    train.km        17 17 17 402 9 ...
    dict.km.txt     17 52011
                    402 40877

A file is scanned once for its number of lines, its hash and the places where shards begin; then a line at a time is in memory.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.label_arrays import MAX_CLASSES

BLOCK_BYTES = 1 << 20  # scanned at a time
FILLER = b"madeupword"  # fairseq fills a dictionary up to a multiple of 8 with these


class Symbols(NamedTuple):
    """What the words of a label file mean."""

    codes: Dict[bytes, int]
    num_classes: int  # V
    allowed: str  # the words there are, for a refusal


def plain_symbols(num_classes: int) -> Symbols:
    """The numbers 0 to V - 1, written as such."""
    if not 1 <= num_classes <= MAX_CLASSES:
        raise MertError(f"--num-classes {num_classes}: 1 to {MAX_CLASSES} allowed")
    codes = {b"%d" % code: code for code in range(num_classes)}
    return Symbols(codes, num_classes, f"0 to {num_classes - 1} allowed by --num-classes {num_classes}")


def read_dictionary(path: Path, num_classes: Optional[int] = None) -> Symbols:
    """A fairseq dictionary, `symbol count` per line.

    If all symbols are whole numbers they are the codes themselves and V is the largest plus one; otherwise a symbol's code is
    its line, from 0, and V is the number of lines. (fairseq's class ids follow the lines in both cases; here they are code + 4.)

    Args:
        num_classes: V if it is larger than what the dictionary lists, as where an entry was never used.

    Raises:
        MertError: file and line of what is no `symbol count` or comes twice; V outside 1 .. 65536 or smaller than the dictionary's.
    """
    words = _dictionary_words(path)
    used = [word for word in words if not word.startswith(FILLER)]
    if all(word.isdigit() for word in used):
        codes = {word: int(word) for word in used}
    else:
        codes = {word: line for line, word in enumerate(words)}
    needed = max(codes.values()) + 1
    if not needed <= (num_classes or needed) <= MAX_CLASSES:
        raise MertError(f"{path}: {needed} classes, --num-classes {num_classes} given; {needed} to {MAX_CLASSES} allowed")
    return Symbols(codes, num_classes or needed, f"only the {len(codes)} symbols of {path} allowed; is it the labels' dictionary?")


def _dictionary_words(path: Path) -> List[bytes]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise MertError(f"{path}: dictionary cannot be read ({error.strerror}); check --dict-dir or leave it out") from error
    words: Dict[bytes, None] = {}
    for number, line in enumerate(lines, 1):
        word, _, count = line.replace(b"#fairseq:overwrite", b"").strip().rpartition(b" ")
        if not word or not count.isdigit():
            raise MertError(f"{path}: line {number}: {_shown(line)} is not `symbol count`; write the dictionary as fairseq does")
        if word in words:
            raise MertError(f"{path}: line {number}: symbol {_shown(word)} comes twice; leave one of the lines")
        words[word] = None
    if all(word.startswith(FILLER) for word in words):
        raise MertError(f"{path}: a dictionary without symbols; write one `symbol count` per line, or remove it")
    return list(words)


def _shown(word: bytes) -> str:
    text = word.decode("utf-8", errors="backslashreplace")
    return repr(text if len(text) <= 40 else text[:40] + "...")


class TextLabels:
    """One codebook as a text file.

    Args:
        path: the label file; its line n belongs to row n of the manifest.
        symbols: what its words mean.
        num_rows: rows of the manifest.
        first_rows: rows at which `rows` starts without reading what lies before.

    Attributes:
        sha256: of the file's bytes.

    Raises:
        MertError: the file cannot be read, or has another number of lines than the manifest has rows.
    """

    def __init__(self, path: Path, symbols: Symbols, num_rows: int, first_rows: Sequence[int]):
        self.path, self.symbols, self.num_classes = Path(path), symbols, symbols.num_classes
        try:
            with open(path, "rb") as file:
                num_lines, self.sha256, self._offsets = _scan(file, set(first_rows))
        except OSError as error:
            raise MertError(f"{path}: labels cannot be read ({error.strerror})") from error
        if num_lines != num_rows:
            mend = "give the manifest that the labels were made from"
            raise MertError(f"{path}: {num_lines} lines, the manifest has {num_rows} rows, one line each needed; {mend}")

    def rows(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Codes [T] uint16 of rows start .. stop - 1; T is 0 where the line is empty. MertError names a line that holds others."""
        nearest = max(row for row in self._offsets if row <= start)
        with open(self.path, "rb") as lines:
            lines.seek(self._offsets[nearest])
            for _ in range(nearest, start):
                lines.readline()
            for row in range(start, stop):
                yield self._codes(lines.readline(), row)

    def _codes(self, line: bytes, row: int) -> np.ndarray:
        words = line.split()
        try:
            return np.fromiter(map(self.symbols.codes.__getitem__, words), np.uint16, len(words))
        except KeyError as error:
            raise MertError(f"{self.path}: line {row + 1}: {_shown(error.args[0])} is no code; {self.symbols.allowed}") from None


def _scan(file: BinaryIO, wanted: set) -> Tuple[int, str, Dict[int, int]]:
    """Number of lines, hex sha256, and the first byte of each wanted line (from 0)."""
    digest, offsets = hashlib.sha256(), {0: 0}
    ends, place, last = 0, 0, b"\n"
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
        newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        for line in [line for line in wanted if ends < line <= ends + len(newlines)]:
            offsets[line] = place + int(newlines[line - ends - 1]) + 1
        ends, place, last = ends + len(newlines), place + len(block), block[-1:]
    return ends + (last != b"\n"), digest.hexdigest(), offsets
