"""What became of each injected fault, and the table of it."""

import contextlib
import io
import json
import logging
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

from mert_fairseq.cli.main import main

#: The first two are what is promised: one clear line and nothing written, or finished with nothing missing. The others are faults of ours.
OUTCOMES = ("refused", "survived", "lost", "silent", "traceback")
SKIPPED = "skipped"  # a test that could not inject anything here: neither an outcome nor nothing


@dataclass(frozen=True)
class Shown:
    """What a user sees of a command.

    Attributes:
        code: the exit code; None where an exception came through.
        text: everything written to the terminal.
        errors: what of it went to the standard error.
    """

    code: "int | None"
    text: str
    errors: str = ""

    @property
    def outcome(self) -> str:
        """Refused with one line that begins with the program's name, survived, or a traceback; whether anything was lost the test knows."""
        if self.code is None or "Traceback (most recent call last)" in self.text:
            return "traceback"
        if self.code == 0:
            return "survived"
        last = self.text.strip().rsplit("\n", 1)[-1]
        return "refused" if self.code == 1 and last.startswith("mert: ") and len(last) > len("mert: ") else "silent"


class _Both(io.StringIO):
    """The standard error: kept apart, and among all the rest."""

    def __init__(self, text: io.StringIO):
        super().__init__()
        self._text = text

    def write(self, written: str) -> int:
        self._text.write(written)
        return super().write(written)


def mert(*argv: object) -> Shown:
    """The `mert` command in this process."""
    text = io.StringIO()
    errors = _Both(text)
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(errors):
        try:
            code = main([str(argument) for argument in argv])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:  # noqa: BLE001  what a user would see as a traceback is what is looked for
            traceback.print_exc(file=text)
            code = None
        finally:
            logging.getLogger().handlers.clear()  # they hold `text`
    return Shown(code, text.getvalue(), errors.getvalue())


class Faults:
    """Counts injected faults in a file that all test processes append to."""

    def __init__(self, path: Path, long: bool):
        self._path, self.long = path, long

    def times(self, short: int, long: int) -> int:
        """How often a fault is injected in this form of the suite."""
        return long if self.long else short

    def record(self, fault: str, outcome: str, detail: str = "", kind: str = "") -> None:
        """One injected fault, in the table under its name; `kind` tells it from others there, see `promised`.

        Raises AssertionError, after counting it, where the outcome is none of the promised.
        """
        assert outcome in OUTCOMES, outcome
        write_outcome(self._path, fault, outcome, kind)
        assert outcome in OUTCOMES[:2], f"{fault}: {outcome}\n{detail}"


def write_outcome(path: Path, fault: str, outcome: str, kind: str = "") -> None:
    """One line of the file that all test processes append to."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps([fault, outcome, kind]) + "\n")


def _lines(path: Path) -> List[List[str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def read_counts(path: Path) -> Dict[str, Counter]:
    """Outcomes by fault, in the order in which the faults were first injected."""
    counts: Dict[str, Counter] = {}
    for fault, outcome, _ in _lines(path):
        counts.setdefault(fault, Counter())[outcome] += 1
    return counts


def read_injected(path: Path) -> Counter:
    """How often each "fault", or "fault / kind", was injected."""
    return Counter(f"{fault} / {kind}" if kind else fault for fault, outcome, kind in _lines(path) if outcome != SKIPPED)


def table(counts: Dict[str, Counter]) -> List[str]:
    """Rows for the terminal, sums at the end."""
    rows = [["fault", "injected", *OUTCOMES, SKIPPED]]
    total = sum(counts.values(), Counter())
    for name, count in [*sorted(counts.items()), ("all", total)]:
        rows.append([name, str(count.total() - count[SKIPPED]), *(str(count[outcome]) for outcome in (*OUTCOMES, SKIPPED))])
    width = max(len(row[0]) for row in rows)
    return [f"{row[0]:<{width}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
