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
LEAST = 1000  # injected faults of a long run


@dataclass(frozen=True)
class Shown:
    """What a user sees of a command.

    Attributes:
        code: the exit code; None where an exception came through.
        text: everything written to the terminal.
    """

    code: "int | None"
    text: str

    @property
    def outcome(self) -> str:
        """Refused with one line that begins with the program's name, survived, or a traceback; whether anything was lost the test knows."""
        if self.code is None or "Traceback (most recent call last)" in self.text:
            return "traceback"
        if self.code == 0:
            return "survived"
        last = self.text.strip().rsplit("\n", 1)[-1]
        return "refused" if self.code == 1 and last.startswith("mert: ") and len(last) > len("mert: ") else "silent"


def mert(*argv: object) -> Shown:
    """The `mert` command in this process."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            code = main([str(argument) for argument in argv])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:  # noqa: BLE001  what a user would see as a traceback is what is looked for
            traceback.print_exc(file=text)
            code = None
        finally:
            logging.getLogger().handlers.clear()  # they hold `text`
    return Shown(code, text.getvalue())


class Faults:
    """Counts injected faults in a file that all test processes append to."""

    def __init__(self, path: Path, long: bool):
        self._path, self.long = path, long

    def times(self, short: int, long: int) -> int:
        """How often a fault is injected in this form of the suite."""
        return long if self.long else short

    def record(self, fault: str, outcome: str, detail: str = "") -> None:
        """One injected fault. Raises AssertionError, after counting it, where the outcome is none of the promised."""
        assert outcome in OUTCOMES, outcome
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps([fault, outcome]) + "\n")
        assert outcome in OUTCOMES[:2], f"{fault}: {outcome}\n{detail}"


def read_counts(path: Path) -> Dict[str, Counter]:
    """Outcomes by fault, in the order in which the faults were first injected."""
    counts: Dict[str, Counter] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for fault, outcome in map(json.loads, lines):
        counts.setdefault(fault, Counter())[outcome] += 1
    return counts


def table(counts: Dict[str, Counter]) -> List[str]:
    """Rows for the terminal, sums at the end."""
    rows = [["fault", "injected", *OUTCOMES]]
    total = sum(counts.values(), Counter())
    for name, count in [*sorted(counts.items()), ("all", total)]:
        rows.append([name, str(count.total()), *(str(count[outcome]) for outcome in OUTCOMES)])
    width = max(len(row[0]) for row in rows)
    return [f"{row[0]:<{width}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
