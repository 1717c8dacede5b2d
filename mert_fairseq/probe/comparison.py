"""Runs against one another on the same test items."""

from pathlib import Path
from typing import Dict, List, Sequence

from mert_fairseq.errors import MertError
from mert_fairseq.probe.footnotes import notes_of
from mert_fairseq.probe.published import TASKS
from mert_fairseq.probe.results import read_run, read_scored, task_folders
from mert_fairseq.probe.significance import Difference, Scored, difference, mean_difference, seed_interval
from mert_fairseq.probe.table import markdown

P = "p: two-sided paired bootstrap test over the test items that there is no difference"
STUDENT = "intervals: Student's t over the runs, not over test items"


def compare(one: Path, other: Path) -> str:
    """Markdown: differences of two runs, task by task on the same test items, with 95 % interval and p, and their mean over the tasks.

    Raises:
        MertError: no task in common, other options, or not tested on the same items.
    """
    lines = [
        [name, f"{found.mean:+.1f}", f"{found.interval[0]:+.1f} to {found.interval[1]:+.1f}", f"{found.p:.3f}"]
        for name, found in _differences(one, other).items()
    ]
    return markdown(["task", f"{Path(one).name} less {Path(other).name}", "95 % interval", "p"], lines) + _below(P, [one, other])


def compare_with_several(one: Path, others: Sequence[Path]) -> str:
    """Markdown: a run less each of several that differ by chance, random initialisations of one model say, and Student's 95 % interval of
    the mean over them.

    Raises:
        MertError: as `compare`; the others do not have the same tasks.
    """
    found = [_differences(one, other) for other in others]
    for other, differences in zip(others, found):
        if list(differences) != list(found[0]):
            unlike = f"{', '.join(differences)}, and of {others[0]} {', '.join(found[0])}"
            raise MertError(f"{one} can be held against {other} in {unlike}; the same tasks of all are needed")
    lines: List[List[str]] = []
    for name in found[0]:
        means = [differences[name].mean for differences in found]
        low, high = seed_interval(means)
        lines.append([name, *(f"{mean:+.1f}" for mean in means), f"{sum(means) / len(means):+.1f}", f"{low:+.1f} to {high:+.1f}"])
    header = ["task", *(f"{Path(one).name} less {Path(other).name}" for other in others), "mean", f"95 % interval over {len(others)} runs"]
    return markdown(header, lines) + _below(STUDENT, [one, *others])


def _below(test: str, runs: Sequence[Path]) -> str:
    """What numbers mean, and where a run's scores were had in another way than by the protocol."""
    found = {str(run): read_run(run) for run in runs}
    compared = [task for task in found[str(runs[0])] if all(task in own for own in found.values())]
    notes = [f"- {Path(run).name}, {note}" for run, own in found.items() for task in compared for note in notes_of(own[task])]
    return "\n".join(["", "", f"Differences in points of 100 (SDR: dB); {test}.", *notes]) + "\n"


def _differences(one: Path, other: Path) -> Dict[str, Difference]:
    """By task, and their mean where there are several."""
    ours, theirs = _scored(one), _scored(other)
    tasks = [task for task in (*TASKS, *sorted(set(ours) - set(TASKS))) if task in ours and task in theirs]
    if not tasks:
        raise MertError(f"{one} and {other} have no task in common; they have {', '.join(ours)}, and {', '.join(theirs)}")
    for task in tasks:
        options = [read_run(run)[task].settings.get("options") for run in (one, other)]
        if options[0] != options[1]:
            raise MertError(f"{task}: {one} has options {options[0]}, {other} has {options[1]}; probe both with the same")
    found = {task: difference(ours[task], theirs[task]) for task in tasks}
    if len(tasks) > 1:
        found[f"mean of {len(tasks)}"] = mean_difference([(ours[task], theirs[task]) for task in tasks])
    return found


def _scored(run: Path) -> Dict[str, Scored]:
    return {task: read_scored(place) for task, place in task_folders(run).items()}
