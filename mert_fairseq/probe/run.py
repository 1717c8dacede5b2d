"""One task, from the dataset's folder to results.json: read, check, hear, train, score."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.beat_examples import BeatData, BeatSettings
from mert_fairseq.probe.beat_tracking import BeatTracker
from mert_fairseq.probe.data_check import check
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.features import estimate, hear
from mert_fairseq.probe.frame_features import hear_frames
from mert_fairseq.probe.items import TaskData
from mert_fairseq.probe.probing import GridSettings, data_facts, probe_task
from mert_fairseq.probe.results import FILE, Results, SeedScore, read_results, scores_of, versions, write_results
from mert_fairseq.probe.separation.run import separate_and_score
from mert_fairseq.probe.separation.settings import STEMS, SeparationSettings
from mert_fairseq.probe.significance import Scored
from mert_fairseq.probe.task import Task
from mert_fairseq.probe.window_examples import WindowData

Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


@dataclass(frozen=True)
class ProbeSettings:
    """What a probe is run with.

    Attributes:
        data: the dataset's folder, or one that holds it under its name.
        out: a folder per task is made in it.
        cache: features of all encoders.
        any_counts: goes on with counts that are not the published ones.
        batch: windows that the encoder hears at a time.
    """

    data: Path
    out: Path
    cache: Path
    grid: GridSettings = GridSettings()
    options: Mapping[str, str] = field(default_factory=dict)
    any_counts: bool = False
    batch: int = 1


def run_task(task: Task, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress) -> Results:
    """Scores of one task; what was finished before is not done again.

    Raises:
        MertError: anything that is wrong with data or settings, before the encoder hears anything.
    """
    report = check(task, settings.data, settings.options, settings.any_counts, progress=lambda *at: progress("files checked", *at))
    for line in (*report.lines, *(f"warning: {warning}" for warning in report.warnings)):
        say(f"{task.name}: {line}")
    report.raise_if_bad()
    data = task.load(settings.data, settings.options)
    task = replace(task, hearing=task.heard(settings.options))
    if task.kind == "stems":
        return _separate(task, data, encoder, settings, say, progress)
    about = {"name": encoder.name, "weights_hash": encoder.weights_hash, "num_layers": encoder.num_layers, "dim": encoder.dim}
    make = _beats if task.kind == "beats" else _windows
    layers = make(task, data, encoder, settings, say, progress)
    chosen = task.settings(settings.options)
    return probe_task(
        task, data, layers, about, settings.out / task.name, settings.grid, chosen, lambda *at: progress("heads trained", *at)
    )


def _windows(task: Task, data: TaskData, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress) -> WindowData:
    root = task.dataset.folder(settings.data)
    cost = estimate(encoder, data.items, task.hearing, settings.cache, root)
    if cost.windows:
        size = f"{cost.num_bytes / 1e9:.2f} GB in {settings.cache}"
        say(f"{task.name}: {cost.windows:,} windows to hear, about {_duration(cost.seconds)}, {size}")
    heard = hear(encoder, data.items, task.hearing, settings.cache, root, settings.batch, lambda *at: progress("windows heard", *at))
    decision = task.settings_of("score", settings.options).get("decision")
    return WindowData(task, data, heard, decisions=("mean",) if decision == "mean" else None)


def _beats(task: Task, data: TaskData, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress) -> BeatData:
    root = task.dataset.folder(settings.data)
    frames = hear_frames(encoder, data.items, settings.cache, root, settings.batch, lambda *at: progress("recordings heard", *at))
    chosen: Dict[str, Any] = task.settings_of("score", settings.options)
    return BeatData(task, data, frames, BeatSettings(**chosen, tracker=BeatTracker(frame_rate=encoder.frame_rate)))


def _separate(task: Task, data: TaskData, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress) -> Results:
    """Separation has no grid: one training per stem over all layers, or over the one that was asked for."""
    layers = settings.grid.layers or (None,)
    if len(layers) > 1 or len(settings.grid.seeds) > 1:
        raise MertError(f"{task.name}: trains one layer and one seed, days of work each; give one of --layers and one of --seeds")
    head = SeparationSettings(layer=layers[0], seed=settings.grid.seeds[0], **task.settings_of("head", settings.options))
    songs = separate_and_score(encoder, data, head, settings.out / task.name / "work", progress, say)
    names = tuple(item.name for item in data.of("test"))
    decibels = np.array([[[songs[name][stem] for stem in STEMS] for name in names]])
    scored = Scored(names, np.zeros((len(names), len(STEMS))), decibels, STEMS, tuple(task.metrics))
    per_seed, together = scores_of(scored)
    results = Results(
        task=task.name, metrics=tuple(task.metrics), monitor=task.monitor, classes=STEMS,
        encoder={"name": encoder.name, "weights_hash": encoder.weights_hash, "num_layers": encoder.num_layers, "dim": encoder.dim},
        data=data_facts(data), settings={"separation": head.decisive(), "options": task.settings(settings.options)}, versions=versions(),
        grid=[], chosen=None, seeds=[SeedScore(head.seed, None, "", 0, per_seed[0])], scores=together, predictions_sha256="",
    )  # fmt: skip
    return write_results(settings.out / task.name, results, scored)


def finished(task: Task, settings: ProbeSettings) -> Optional[Results]:
    """Results that are there already; None if there are none."""
    folder = settings.out / task.name
    return read_results(folder) if (folder / FILE).is_file() else None


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
