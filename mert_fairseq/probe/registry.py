"""The 14 tasks by name, in MARBLE's order; `rows` has what each is."""

from typing import Dict

from mert_fairseq.errors import MertError
from mert_fairseq.probe.rows import songs, sounds, stems, tagging
from mert_fairseq.probe.task import Task

#: By name, in the order in which they are listed.
TASKS: Dict[str, Task] = {task.name: task for task in (tagging.MTT, *songs.ROWS, *sounds.ROWS, *tagging.MTG, stems.MUSDB18)}


def task_named(name: str) -> Task:
    """The row of a name, in any case; raises MertError if there is none."""
    found = {known.lower(): task for known, task in TASKS.items()}.get(name.lower())
    if found is None:
        raise MertError(f"task {name!r}: one of {', '.join(TASKS)} wanted; `mert probe --list` tells about them")
    return found
