"""One task, from the dataset's folder to results.json: read, check, hear, train, score."""

import functools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.beat_examples import BeatData, BeatSettings
from mert_fairseq.probe.beat_tracking import BeatTracker
from mert_fairseq.probe.data_check import check, check_items
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.features import estimate, hear, seconds_to_hear
from mert_fairseq.probe.frame_features import frames_hash, hear_frames, missing_bytes, recordings_of
from mert_fairseq.probe.grid import layers_heard, make_grid
from mert_fairseq.probe.items import TaskData
from mert_fairseq.probe.overlap import OverlapReport, find_overlap
from mert_fairseq.probe.probing import GridSettings, asked, data_facts, data_hash, probe_task
from mert_fairseq.probe.provenance import versions
from mert_fairseq.probe.results import FILE, Results, SeedScore, read_results, rewrite_results, scores_of, write_results
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
        pretrained_on: manifest of what the encoder was trained on, in which test recordings are looked for.
    """

    data: Path
    out: Path
    cache: Path
    grid: GridSettings = GridSettings()
    options: Mapping[str, str] = field(default_factory=dict)
    any_counts: bool = False
    batch: int = 1
    pretrained_on: Optional[Path] = None


def run_task(task: Task, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress) -> Results:
    """Scores of one task; what was finished before is not done again.

    Raises:
        MertError: anything that is wrong with data or settings, before the encoder hears anything.
    """
    data = task.load(settings.data, settings.options)
    if task.kind != "stems":
        make_grid(encoder.num_layers, settings.grid.layers, settings.grid.rates)  # refuses layers that are not there, before any work
    found = finished(task, data, encoder, settings)
    if found is None:
        show = functools.partial(progress, "files checked")  # of headers and floats alone: other files are decoded as they are heard
        quick = {"progress": show, "decode": False, "shortest": encoder.shortest}
        report = check(task, settings.data, settings.options, settings.any_counts, **quick)
        for line in (*report.lines, *(f"warning: {warning}" for warning in report.warnings)):
            say(f"{task.name}: {line}")
        report.raise_if_bad()
    else:
        check_items(task, data, settings.options, settings.any_counts).raise_if_bad()  # it may have been --any-counts
    overlap = _look_for_overlap(task, data, settings, say, progress) if settings.pretrained_on is not None else None
    if found is None:
        score = _separate if task.kind == "stems" else _train_heads
        found = score(replace(task, hearing=task.heard(settings.options)), data, encoder, settings, say, progress)
    return found if overlap is None else rewrite_results(settings.out / task.name, replace(found, overlap=overlap.outcome()))


def _look_for_overlap(task: Task, data: TaskData, settings: ProbeSettings, say: Say, progress: Progress) -> OverlapReport:
    cache, compared = settings.cache / "fingerprints", lambda *at: progress("recordings compared", *at)
    report = find_overlap(settings.pretrained_on, data.of("test"), cache, progress=compared)
    for line in (report.warning(task.name), *(f"{task.name}: {text}" for text in report.unreadable)):
        if line:
            say(f"warning: {line}")
    return report


def _train_heads(task: Task, data: TaskData, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress) -> Results:
    make = _beats if task.kind == "beats" else _windows
    layers, audio = make(task, data, encoder, settings, say, progress)
    return probe_task(
        task, data, layers, about(encoder), settings.out / task.name, settings.grid, task.settings(settings.options),
        lambda *at: progress("heads trained", *at), audio, settings.any_counts,
        task.dataset.folder(settings.data),
    )  # fmt: skip


def about(encoder: ProbedEncoder) -> Dict[str, Any]:
    """What results say of an encoder."""
    facts = {"name": encoder.name, "weights_hash": encoder.weights_hash, "num_layers": encoder.num_layers, "dim": encoder.dim}
    return {**facts, "device": str(encoder.device), "dtype": getattr(encoder, "precision", "float32")}


def finished(task: Task, data: TaskData, encoder: ProbedEncoder, settings: ProbeSettings) -> Optional[Results]:
    """Results that are there already; None if there are none.

    Raises:
        MertError: there are some, of another encoder, other data or other settings.
    """
    folder = settings.out / task.name
    if not (folder / FILE).is_file():
        return None
    found = read_results(folder)
    options = {**task.settings(), **(found.settings.get("options") or {})}
    there = {"encoder": found.encoder.get("weights_hash"), "data": found.data.get("hash"), "options": options}
    wanted = {"encoder": encoder.weights_hash, "data": data_hash(data), "options": task.settings(settings.options)}
    if task.kind != "stems":
        there |= {name: found.settings.get(name) for name in ("layers", "rates", "seeds")}
        wanted |= asked(settings.grid, encoder.num_layers)
    unlike = [name for name in wanted if json.dumps(wanted[name]) != json.dumps(there[name])]
    if unlike:
        raise MertError(f"{folder}: holds scores of other {', '.join(unlike)}; give another --out, or remove it")
    return found


def _windows(task: Task, data: TaskData, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress):
    """The task's windows, and the hash of their audio."""
    root = task.dataset.folder(settings.data)
    cost = estimate(encoder, data.items, task.hearing, settings.cache, root)
    if cost.windows:
        size = f"{cost.num_bytes / 1e9:.2f} GB in {settings.cache}, as much memory for heads (4 GB at most)"
        say(f"{task.name}: {cost.windows:,} windows to hear, about {_duration(cost.seconds)}, {size}")
    heard = hear(encoder, data.items, task.hearing, settings.cache, root, settings.batch, lambda *at: progress("windows heard", *at))
    decision = task.settings_of("score", settings.options).get("decision")
    decisions = ("mean",) if decision == "mean" else None
    return WindowData(task, data, heard, str(encoder.device), decisions), heard.audio_hash


def _beats(task: Task, data: TaskData, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress):
    """The task's frames, and the hash of their audio."""
    root = task.dataset.folder(settings.data)
    layers = layers_heard(make_grid(encoder.num_layers, settings.grid.layers, settings.grid.rates), encoder.num_layers)
    recordings = recordings_of(encoder, data.items, task.hearing, layers, settings.cache, root)
    missing = [recording.segment for recording in recordings if recording.missing]
    if missing:
        size = f"{missing_bytes(encoder, recordings) / 1e9:.2f} GB in {settings.cache} for {len(layers)} hidden states"
        say(f"{task.name}: {len(missing):,} recordings to hear, about {_duration(seconds_to_hear(encoder, missing))}, {size}")
    heard = lambda *at: progress("recordings heard", *at)  # noqa: E731
    frames = hear_frames(encoder, recordings, task.hearing, settings.cache, settings.batch, heard)
    chosen: Dict[str, Any] = {**task.settings_of("head", settings.options), **task.settings_of("score", settings.options)}
    beats = BeatSettings(**chosen, tracker=BeatTracker(frame_rate=encoder.frame_rate))
    return BeatData(task, data, frames, beats, str(encoder.device)), frames_hash(recordings)


def _separate(task: Task, data: TaskData, encoder: ProbedEncoder, settings: ProbeSettings, say: Say, progress: Progress) -> Results:
    """Separation has no grid: one training per stem, with the first layer and seed that were asked for, by default the sum of all."""
    layer, seed = (settings.grid.layers or (None,))[0], settings.grid.seeds[0]
    say(f"{task.name}: one training per stem, seed {seed}, {'the sum of all layers' if layer is None else f'layer {layer}'}")
    chosen = {**task.settings_of("head", settings.options), **task.settings_of("score", settings.options)}
    head = SeparationSettings(layer=layer, seed=seed, **chosen)
    songs = separate_and_score(encoder, data, head, settings.out / task.name / "work", progress, say)
    names = tuple(item.name for item in data.of("test"))
    decibels = np.array([[[songs[name][stem] for stem in STEMS] for name in names]])
    scored = Scored(names, np.zeros((len(names), len(STEMS))), decibels, STEMS, tuple(task.metrics))
    per_seed, together = scores_of(scored)
    results = Results(
        task=task.name, metrics=tuple(task.metrics), monitor=task.monitor, classes=STEMS,
        encoder=about(encoder),
        data=data_facts(data, task.dataset.folder(settings.data)), versions=versions(),
        settings={"separation": head.decisive(), "options": task.settings(settings.options), "any_counts": settings.any_counts},
        grid=[], chosen=None, seeds=[SeedScore(head.seed, None, "", 0, per_seed[0])], scores=together, predictions_sha256="",
    )  # fmt: skip
    return write_results(settings.out / task.name, results, scored)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
