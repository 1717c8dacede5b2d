"""The text of `mert probe --list`: what each task needs, where it is to be had, and what was decided."""

from typing import Iterable, List

from mert_fairseq.probe.registry import TASKS
from mert_fairseq.probe.task import Hearing, Task

FOR_ALL = (
    "All tasks: audio is heard as mono at 24 kHz, as loud as it is, which is how MERT is trained; MARBLE v1 brings it to zero mean\n"
    "and unit variance for v0 and v1-95M, not for v1-330M. Other models get what their own preprocessor says."
)
WIDTH = 10  # of the first column


def listing(tasks: Iterable[Task] = tuple(TASKS.values())) -> str:
    """What holds for all tasks, then one paragraph per task."""
    return "\n\n".join([FOR_ALL, *("\n".join(_paragraph(task)) for task in tasks)]) + "\n"


def _paragraph(task: Task) -> List[str]:
    lines = [f"{task.name}: {task.title}"]
    lines += _field("licence", task.dataset.licence)
    lines += _field("size", task.dataset.size)
    lines += _field("get it", task.dataset.where)
    lines += _field("layout", f"below DIR/{task.dataset.name}, or DIR itself:\n{task.dataset.layout}")
    lines += _field("items", counts_text(task))
    lines += _field("splits", task.splits)
    lines += _field("metric", ", ".join(task.metrics) + ("; their mean is the task's score" if len(task.metrics) > 1 else ""))
    lines += _field("hears", hearing_text(task.hearing))
    lines += _field("choices", "\n".join(task.choices))
    lines += _field("options", "\n".join(f"{option.name}={'|'.join(map(str, option.values))}: {option.about}" for option in task.options))
    return lines


def counts_text(task: Task) -> str:
    """Items per split, "train 442, valid 197, test 290"."""
    if not task.counts:
        return "train, valid, test; no source tells how many"
    return ", ".join(f"{split} {count:,}" for split, count in task.counts.items())


def hearing_text(hearing: Hearing) -> str:
    """How audio is cut, in words."""
    first = f" of the first {hearing.first_s:g} s" if hearing.first_s is not None else ""
    return f"windows of {hearing.window_s:g} s{first}, the last one if it has {hearing.least_s:g} s"


def _field(name: str, text: str) -> List[str]:
    """The lines of a text, indented behind its name; none for an empty one."""
    rows = text.split("\n") if text else []
    return [f"  {name if number == 0 else '':<{WIDTH}}{row}" for number, row in enumerate(rows)]
