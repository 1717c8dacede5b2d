"""Annotation files as datasets publish them: tables, JSON and lists; what is wrong with one is said in one line with file and line."""

import csv
import io
from pathlib import Path
from typing import Dict, List, Sequence, Tuple, TypeVar

from mert_fairseq.errors import MertError
from mert_fairseq.json_text import parse_json

Found = TypeVar("Found")


def text_of(path: Path, mend: str) -> str:
    """A UTF-8 file with plain newlines, whatever it has on disk.

    Args:
        mend: what gets the file, for the message.
    """
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise MertError(f"{path}: no such file; {mend}") from None
    except UnicodeDecodeError as error:
        raise MertError(f"{path}: not UTF-8 text at byte {error.start}; {mend}") from None
    except OSError as error:
        raise MertError(f"{path}: cannot be read ({error.strerror}); {mend}") from None


def lines_of(path: Path, mend: str) -> List[str]:
    """The lines that are not empty, without blanks around them."""
    return [line.strip() for line in text_of(path, mend).split("\n") if line.strip()]


def table_of(path: Path, delimiter: str, needed: Sequence[str], mend: str) -> List[Tuple[int, Dict[str, str]]]:
    """Rows of a table with a header: (number of the line, column -> text without blanks around it).

    Raises:
        MertError: the file or a needed column is missing, or a row is shorter than the header.
    """
    reader = csv.reader(io.StringIO(text_of(path, mend)), delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in needed if name not in header]
    if missing:
        raise MertError(f"{path}: no column {missing[0]!r} among {len(header)} in line 1; {mend}")
    rows = []
    for row in reader:
        if row:
            if len(row) < len(header):
                raise MertError(f"{path}: line {reader.line_num} has {len(row)} fields, the header {len(header)}; {mend}")
            rows.append((reader.line_num, {name: text.strip() for name, text in zip(header, row)}))
    return rows


def json_of(path: Path, mend: str) -> Dict:
    """The object in a JSON file."""
    text = text_of(path, mend)
    try:
        found = parse_json(text)
    except ValueError as error:
        raise MertError(f"{path}: not JSON ({error}); {mend}") from None
    if not isinstance(found, dict):
        raise MertError(f"{path}: a JSON object expected, {type(found).__name__} found; {mend}")
    return found


def number_of(text: str, where: str, kind: Tuple[float, float], mend: str) -> float:
    """A number between the two of `kind`.

    Args:
        where: file, line and column.
    """
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not kind[0] <= number <= kind[1]:
        raise MertError(f"{where}: {text!r} is no number from {kind[0]:g} to {kind[1]:g}; {mend}")
    return number


def class_of(name: str, classes: Dict[str, Found], where: str, mend: str) -> Found:
    """What `classes` has for a name; raises MertError for a label outside the set."""
    if name not in classes:
        known = list(classes)
        shown = ", ".join(known) if len(known) <= 20 else f"{', '.join(known[:8])} ... ({len(known)})"
        raise MertError(f"{where}: label {name!r} is none of {shown}; {mend}")
    return classes[name]


def folder_of(data: Path, names: Sequence[str], holding: str, mend: str) -> Path:
    """The first folder below `data` that is there; names may have `*`, "." is `data` itself.

    Args:
        holding: a pattern that something in the folder has to match.

    Raises:
        MertError: none of them.
    """
    for name in names:
        for folder in [data] if name == "." else sorted(data.glob(name)):
            if folder.is_dir() and next(folder.glob(holding), None):
                return folder
    places = ", ".join(str(data if name == "." else data / name) for name in names)
    raise MertError(f"{data}: no {holding} in {places}; {mend}")
