"""Runs beside published models in one markdown table of the 14 tasks, and how sure the runs' own scores are.

The average is the papers': the mean over the 14 tasks, each the mean of its own metrics in points, SDR in dB as it is. A row that lacks
a task has no average; its partial mean says of how many tasks it is, and is to be held only against the same tasks.
"""

from pathlib import Path
from typing import Iterable, List, Mapping, Sequence

import numpy as np

from mert_fairseq.probe.footnotes import Footnotes, heard_in_training
from mert_fairseq.probe.grid import layer_name
from mert_fairseq.probe.metrics import in_points
from mert_fairseq.probe.published import ROWS, SOURCES, TASKS, PublishedRow
from mert_fairseq.probe.results import Results, read_run

SHORT = {
    "roc_auc": "ROC", "average_precision": "AP", "weighted_score": "weighted", "accuracy": "acc.", "f_measure": "F1", "r2_valence": "R2 V",
    "r2_arousal": "A", "sdr_vocals": "SDR v", "sdr_drums": "d", "sdr_bass": "b", "sdr_other": "o",
}  # fmt: skip


def probe_table(folders: Sequence[Path], published: Sequence[PublishedRow] = ROWS) -> str:
    """Markdown: all runs and published rows, what their marks mean, the runs' intervals, and what is to be said of their scores.

    Raises:
        MertError: a folder without results, or with those of two encoders.
    """
    runs = {_run_name(folder, folders): read_run(folder) for folder in folders}
    tasks = [task for task in TASKS if any(task in run for run in runs.values()) or published]
    others = sorted({task for run in runs.values() for task in run} - set(TASKS))
    parts, notes = [], Footnotes()
    if tasks:
        header = ["model", *(f"{task} {'/'.join(SHORT[name] for name in TASKS[task])}" for task in tasks), "average of 14"]
        own = [_own_row(name, run, tasks, len(TASKS), notes) for name, run in runs.items() if set(run) & set(tasks)]
        parts += [markdown(header, own + [_published_row(row, tasks) for row in published]), _legend(published)]
    if others:
        header = ["model", *others, f"average of {len(others)}"]
        own = [_own_row(name, run, others, len(others), notes) for name, run in runs.items() if set(run) & set(others)]
        parts.append(markdown(header, own))
    parts += [_intervals(runs, notes), "\n".join([*notes.lines, *heard_in_training(runs)])]
    if any("partial mean" in part for part in parts):
        parts.append("A partial mean can be compared with means over the same tasks alone, not with one over others.")
    return "\n\n".join(part for part in parts if part) + "\n"


def average(means: Mapping[str, float], num_tasks: int) -> str:
    """Of the tasks' means in points; where tasks are missing a partial mean that says so."""
    mean = f"{np.mean(list(means.values())):.1f}"
    return mean if len(means) == num_tasks else f"- (partial mean of {len(means)}: {mean})"


def _run_name(folder: Path, folders: Sequence[Path]) -> str:
    """The folder's name, or its whole path where two have the same."""
    names = [Path(other).name for other in folders]
    return str(folder) if names.count(Path(folder).name) > 1 else Path(folder).name


def _own_row(name: str, run: Mapping[str, Results], tasks: Iterable[str], num_tasks: int, notes: Footnotes) -> List[str]:
    there = [run[task] for task in tasks if task in run]
    cells = {own.task: "/".join(f"{in_points(name, own.scores[name].mean):.1f}" for name in _metrics(own)) for own in there}
    marked = {own.task: cells[own.task] + notes.marks([own]) for own in there}
    means = {own.task: own.task_score for own in there}
    return [f"**{name}**", *(marked.get(task, "-") for task in tasks), average(means, num_tasks) + notes.marks(there)]


def _metrics(results: Results) -> Sequence[str]:
    """In the table's order."""
    order = TASKS.get(results.task, results.metrics)
    return order if set(order) == set(results.metrics) else results.metrics


def _published_row(row: PublishedRow, tasks: Iterable[str]) -> List[str]:
    cells = {task: "/".join(f"{value:.1f}" for value in scores) for task, scores in row.scores.items()}
    means = {task: float(np.mean(scores)) for task, scores in row.scores.items()}
    cells["average"] = average(means, len(TASKS)) if row.average is None else f"{row.average:.1f}"
    cells.update({name: f"{cells[name]} [{tag}]" for name, tag in row.others.items()})
    return [f"{row.model} [{row.source}]", *(cells.get(name, "-") for name in (*tasks, "average"))]


def _legend(published: Sequence[PublishedRow]) -> str:
    used = {tag for row in published for tag in (row.source, *row.others.values())}
    return "\n".join(f"- [{tag}] {about}" for tag, about in SOURCES.items() if tag in used)


def _intervals(runs: Mapping[str, Mapping[str, Results]], notes: Footnotes) -> str:
    """Each own score with its interval and the grid point that it was had with; nothing where there are none."""
    lines: List[List[str]] = []
    for run_name, run in runs.items():
        for task in sorted(run, key=lambda task: (list(TASKS).index(task) if task in TASKS else len(TASKS), task)):
            results = run[task]
            for name in _metrics(results):
                found = results.scores[name]
                low, high, deviation = (in_points(name, value) for value in (found.low, found.high, found.deviation))
                spread = f"{deviation:.1f}" if len(results.seeds) > 1 else "-"
                point = results.chosen
                chosen = [layer_name(point["layer"]), f"{point['rate']:g}"] if point else ["-", "-"]
                score = f"{in_points(name, found.mean):.1f}{notes.marks([results])}"
                lines.append([run_name, task, name, score, f"{low:.1f} to {high:.1f}", spread, str(len(results.seeds)), *chosen])
    header = ["run", "task", "metric", "score", "95 % interval", "between seeds", "seeds", "layer", "rate"]
    return markdown(header, lines) if lines else ""


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
