"""The work of `mert probe check TASK --data DIR`: counts, names, labels and audio of a dataset, before hours are spent on it."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

import numpy as np

from mert_fairseq.data.scan import usable_cpus
from mert_fairseq.errors import MertError
from mert_fairseq.frames import receptive_field
from mert_fairseq.probe.audio_check import Progress, lengths_of, short_fault, span_fault
from mert_fairseq.probe.items import SPLITS, BeatTimes, Item, StemFiles, TaskData
from mert_fairseq.probe.task import Task, Value

SHOWN = 5  # of many problems of one kind


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        lines: what is there.
        warnings: what may be as it should.
        problems: what a probe must not start with; each names what mends it.
    """

    lines: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)
    problems: List[str] = field(default_factory=list)

    def raise_if_bad(self) -> None:
        """Raises MertError with the first problem and how many there are."""
        if self.problems:
            more = f" (and {len(self.problems) - 1} more: `mert probe check`)" if len(self.problems) > 1 else ""
            raise MertError(self.problems[0] + more)


def check(
    task: Task,
    data: Path,
    options: Optional[Mapping[str, Value]] = None,
    any_counts: bool = False,
    threads: Optional[int] = None,
    progress: Optional[Progress] = None,
    decode: bool = True,
    shortest: Optional[int] = None,
) -> CheckReport:
    """Reads a task's items and every audio file.

    Args:
        options: of the task, as for a probe.
        any_counts: goes on with counts that differ from the published ones; a subset, say.
        threads: that read files; None: one per processor to decode them, four for headers, which mostly wait for the disk.
        progress: told how many files are done, of how many.
        decode: files to their ends; else headers and float samples alone, and the report says so.
        shortest: samples at 24 kHz that an item has at least; None: what MERT makes one frame of.
    """
    try:
        found = task.load(data, options)
    except MertError as error:
        return CheckReport(problems=[f"{task.name}: {error}"])
    report = check_items(task, found, options, any_counts)
    _check_audio(task, found, threads or (1 if decode else 4) * usable_cpus(), progress, report, decode, shortest or receptive_field())
    return report


def check_items(task: Task, found: TaskData, options: Optional[Mapping[str, Value]] = None, any_counts: bool = False) -> CheckReport:
    """The same without audio, of items that are read already: what a probe does before it begins."""
    report = CheckReport()
    _check_counts(task, found, task.expected(options), any_counts, report)
    _check_names(task, found, report)
    _check_labels(task, found, report)
    report.lines += [f"{len(found.dropped):,} left out, e.g. {found.dropped[0]}"] if found.dropped else []
    return report


def _check_counts(task: Task, found: TaskData, expected: Dict[str, int], any_counts: bool, report: CheckReport) -> None:
    for split in SPLITS:
        count, published = len(found.of(split)), expected.get(split)
        known = f"{published:,} published" if published is not None else "no published count"
        report.lines.append(f"{split}: {count:,} items, {known}")
        if not count:
            rule = f" ({' '.join(task.splits.split())})" * bool(task.splits)
            report.problems.append(f"{task.name}: no item in {split}; the lists or the audio are incomplete{rule}, {_mend(task)}")
        elif published is not None and count != published:
            text = f"{task.name}: {split} has {count:,} items, {published:,} are published"
            if any_counts:
                report.warnings.append(f"{text}; scores cannot be compared with published ones")
            else:
                report.problems.append(f"{text}; complete the data ({_mend(task)}), or --any-counts for a score of your own")


def _check_names(task: Task, found: TaskData, report: CheckReport) -> None:
    twice = [name for name, count in Counter(item.name for item in found.items).items() if count > 1]
    if twice:
        report.problems.append(f"{task.name}: {len(twice)} items occur twice, e.g. {twice[0]}; {_mend(task)}")
    splits: Dict[Tuple[Path, float], str] = {}
    for item in found.items:
        other = splits.setdefault((item.path, item.start_s), item.split)
        if other != item.split:
            report.problems.append(f"{item.path}: in {other} and in {item.split}; remove it from one list, or {_mend(task)}")
            return


def _check_labels(task: Task, found: TaskData, report: CheckReport) -> None:
    wrong = [(item, fault) for item in found.items if (fault := label_fault(task.kind, item, len(found.classes)))]
    for item, fault in wrong[:SHOWN]:
        report.problems.append(f"{item.path}: {fault}; {_mend(task)}")
    if wrong:
        return
    if task.kind == "classes":
        there = {split: {int(item.label) for item in found.of(split)} for split in SPLITS}
        for split, classes in there.items():
            known = task.untested if split == "test" else ()
            absent = [name for number, name in enumerate(found.classes) if number not in classes and name not in known]
            if absent and classes and len(found.classes) < 100:
                report.warnings.append(f"{split}: no item of {len(absent)} of {len(found.classes)} classes{_example(absent)}")
    if task.kind == "tags" and found.of("test"):
        share = np.mean([item.label for item in found.of("test")], axis=0)
        flat = [name for name, part in zip(found.classes, share) if part in (0, 1)]
        if flat:
            text = f"test: {len(flat)} of {len(found.classes)} tags are on all items or none and have no score, e.g. {flat[0]}"
            report.warnings.append(text)


def _example(names: List[str]) -> str:
    return f", e.g. {names[0]}" if len(names) > 1 else f": {names[0]}"


def label_fault(kind: str, item: Item, num_classes: int) -> str:
    """What is wrong with an item's label; "" if nothing is."""
    label = item.label
    if kind == "classes":
        right = isinstance(label, (int, np.integer)) and 0 <= label < num_classes
        return "" if right else f"label {label!r} of {item.name}, 0 to {num_classes - 1} expected"
    if kind == "beats":
        times = label.beats if isinstance(label, BeatTimes) else np.zeros(0)
        right = len(times) > 0 and bool(np.isfinite(times).all()) and bool((times >= 0).all()) and bool((np.diff(times) >= 0).all())
        return "" if right else f"{item.name} has {len(times)} beats, at least one expected, in order of time and from 0 s on"
    if kind == "stems":
        return "" if isinstance(label, StemFiles) else f"{item.name} has no stems"
    if not isinstance(label, np.ndarray) or label.shape != (num_classes,) or not np.isfinite(label).all():
        return f"label of {item.name} is not {num_classes} finite numbers"
    if kind == "tags" and not np.isin(label, (0, 1)).all():
        return f"tags of {item.name} are not all 0 or 1"
    return ""


def _check_audio(
    task: Task, found: TaskData, threads: int, progress: Optional[Progress], report: CheckReport, decode: bool, shortest: int
) -> None:
    """Whether files can be read, are as long as this dataset's are, and hold their items."""
    seconds, faults, silent = lengths_of(found.items, threads, progress, decode)
    whole, unheard = len(seconds) + len(faults), list(seconds.values()).count(None)
    how = (
        "headers and float samples alone, other damage is not seen" if not decode else f"{unheard:,} .stem.mp4 not decoded" * bool(unheard)
    )
    hours = sum(filter(None, seconds.values())) / 3600
    report.lines.append(f"audio: {len(seconds):,} of {whole:,} files can be read, {hours:.1f} h" + f" ({how})" * bool(how))
    short = {item.path: fault for item in found.items if (fault := short_fault(item, seconds.get(item.path), shortest))}
    faults += short.values()
    report.problems += [f"{fault}; {_mend(task)}" for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        report.problems.append(f"{task.name}: {len(faults) - SHOWN:,} more files cannot be read or are too short; {_mend(task)}")
    if silent := [path for path in silent if path in {item.path for item in found.items}]:  # not stems, which may well be
        report.warnings.append(f"{len(silent):,} files are silent from beginning to end, e.g. {silent[0]}")
    least, most = task.seconds
    strange = [(path, length) for path, length in seconds.items() if length is not None and not least <= length <= most]
    if strange:
        path, length = strange[0]
        text = f"{len(strange):,} files are not of {least:g} to {most:g} s, as this dataset's are, e.g. {path} of {length:.1f} s"
        report.warnings.append(text)
    beyond = next((fault for item in found.items if (fault := span_fault(item, seconds.get(item.path)))), None)
    if beyond:
        report.problems.append(f"{beyond}; {_mend(task)}")


def _mend(task: Task) -> str:
    return f"get {task.dataset.name} from {task.dataset.where.split(': ')[0]}"
