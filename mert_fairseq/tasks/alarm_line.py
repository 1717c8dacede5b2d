"""The line of the log that an alarm is, written here and read here (for `mert report`):

    alarm at update 2000, collapsed_predictions (codebook 3, codebook 4): perplexity of ...; what to do
    alarm over at update 2500, collapsed_predictions (codebook 3, codebook 4)
"""

import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

LINE = re.compile(r"alarm( over)? at update (\d+), (\w+) \(([^)]*)\)(?:: (.*))?$")


@dataclass(frozen=True)
class Alarm:
    """One line: that something began, or that it is over.

    Attributes:
        name: a key of ADVICE.
        subjects: what it is about, like "codebook 3".
    """

    update: int
    name: str
    subjects: Tuple[str, ...]
    text: str = ""
    over: bool = False

    def line(self) -> str:
        """As it stands in the log."""
        said = f"alarm{' over' if self.over else ''} at update {self.update}, {self.name} ({', '.join(self.subjects)})"
        return f"{said}: {self.text}" if self.text else said


def read_alarm(line: str) -> Optional[Alarm]:
    """The alarm that a line of the log holds; None if none."""
    found = LINE.search(line.rstrip("\n"))
    if found is None:
        return None
    over, update, name, subjects, text = found.groups()
    return Alarm(int(update), name, tuple(subjects.split(", ")), text or "", bool(over))


def still_on(alarms: Iterable[Alarm]) -> List[Tuple[str, str]]:
    """(name, subject) of all that began and is not over."""
    on: Dict[Tuple[str, str], None] = {}
    for alarm in alarms:
        for subject in alarm.subjects:
            if alarm.over:
                on.pop((alarm.name, subject), None)
            else:
                on[alarm.name, subject] = None
    return list(on)


def short_list(subjects: Sequence[str]) -> str:
    """Like "codebooks 0, 3" of "codebook 0" and "codebook 3"; any others as they are."""
    kinds = {subject.rpartition(" ")[0] for subject in subjects}
    if len(subjects) < 2 or len(kinds) > 1 or "" in kinds:
        return ", ".join(subjects)
    return f"{kinds.pop()}s {', '.join(subject.rpartition(' ')[2] for subject in subjects)}"
