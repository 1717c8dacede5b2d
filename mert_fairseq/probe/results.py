"""Scores of one task and one encoder on disk.

RUN/GTZAN/results.json       {"format": "mert probe results", "version": 1, "task": "GTZAN", "scores": {"accuracy": {"mean": ...}}, ...}
RUN/GTZAN/predictions.npz    items, reference, estimates of all test items and seeds, from which every score can be had again,
                             and recordings, where several items are parts of one
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from mert_fairseq.data.part_files import write_whole
from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import KEY, is_unchanged, with_hash
from mert_fairseq.json_text import parse_json
from mert_fairseq.probe.kept_json import GOES_ON, json_bytes
from mert_fairseq.probe.metrics import in_points, score
from mert_fairseq.probe.provenance import made_now
from mert_fairseq.probe.significance import Scored, interval, replicate_scores

FORMAT, VERSION = "mert probe results", 1
FILE, PREDICTIONS = "results.json", "predictions.npz"


@dataclass(frozen=True)
class SeedScore:
    """Attributes: seed of head and order, validation figure, decision (see `decisions`), best epoch, test scores by metric."""

    seed: int
    validation: Optional[float]
    decision: str
    epoch: int
    scores: Dict[str, float]


@dataclass(frozen=True)
class MetricScore:
    """Attributes: mean over seeds, deviation between them (0 for a single one), 95 % bootstrap interval of the mean over test items."""

    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Results:
    """Content of results.json.

    Attributes:
        task, metrics, classes, monitor: of the task.
        encoder: name, weights_hash, num_layers, dim, device, dtype.
        data: hash of items and labels, items per split, what was dropped, hash of each annotation file by its path in the data folder.
        settings: all that was chosen by people: hearing, head, grid, options, any_counts.
        versions: of Python and packages.
        grid: validation of each grid point; empty where there is no grid.
        chosen: the point of it that was tested.
        seeds: one per trained head.
        scores: by metric.
        predictions_sha256: of the file beside it.
        overlap: of the test items with what the encoder was trained on, see `overlap.OverlapReport.outcome`; None: not looked for.
        made: when (UTC) and by which command, no part of what was found; None in results of before this was kept.
    """

    task: str
    metrics: Tuple[str, ...]
    monitor: str
    classes: Tuple[str, ...]
    encoder: Dict[str, Any]
    data: Dict[str, Any]
    settings: Dict[str, Any]
    versions: Dict[str, str]
    grid: List[Dict[str, Any]]
    chosen: Optional[Dict[str, Any]]
    seeds: List[SeedScore]
    scores: Dict[str, MetricScore]
    predictions_sha256: str
    overlap: Optional[Dict[str, Any]] = None
    made: Optional[Dict[str, str]] = field(default=None, compare=False)

    @property
    def task_score(self) -> float:
        """Mean of the task's metrics, in points."""
        return float(np.mean([in_points(name, self.scores[name].mean) for name in self.metrics]))


def scores_of(scored: Scored) -> Tuple[List[Dict[str, float]], Dict[str, MetricScore]]:
    """Scores by metric of each seed, and of all seeds together."""
    per_seed = [{name: score(name, scored.reference, one, scored.classes) for name in scored.metrics} for one in scored.estimates]
    found, replicates = {}, replicate_scores(scored)
    for name in scored.metrics:
        values = [scores[name] for scores in per_seed]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        found[name] = MetricScore(float(np.mean(values)), deviation, *interval(replicates[name]))
    return per_seed, found


def write_results(folder: Path, results: Results, scored: Scored) -> Results:
    """Writes both files, each whole or not at all, the predictions first; returns the results with their hash."""
    buffer = io.BytesIO()
    recordings = {} if scored.recordings is None else {"recordings": np.array(scored.recordings)}
    np.savez_compressed(buffer, items=np.array(scored.items), reference=scored.reference, estimates=scored.estimates, **recordings)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PREDICTIONS, buffer.getvalue(), GOES_ON)
    return rewrite_results(folder, replace(results, made=made_now(), predictions_sha256=hashlib.sha256(buffer.getvalue()).hexdigest()))


def rewrite_results(folder: Path, results: Results) -> Results:
    """Puts other results of the same predictions in place; returns them as they are read back."""
    content = json.loads(json_bytes({"format": FORMAT, "version": VERSION, **asdict(results)}))
    write_whole(folder / FILE, json_bytes(with_hash(content)), GOES_ON)
    return read_results(folder)


def read_results(folder: Path) -> Results:
    """Results of a task's folder.

    Raises:
        MertError: no such file, another program's or another version's, or one that was changed by hand and does not hold together.
    """
    path = Path(folder) / FILE
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MertError(f"{path}: cannot be read ({error}); give the folder that `mert probe` wrote") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise MertError(f"{path}: not written by `mert probe`; give the folder that it wrote")
    if content.get("version") != VERSION:
        raise MertError(f"{path}: version {content.get('version')}, {VERSION} wanted; probe again with this version of mert-fairseq")
    fields = {name: value for name, value in content.items() if name not in ("format", "version", KEY)}
    try:
        fields["seeds"] = [SeedScore(**seed) for seed in fields["seeds"]]
        fields["scores"] = {name: MetricScore(**found) for name, found in fields["scores"].items()}
        fields["metrics"], fields["classes"] = tuple(fields["metrics"]), tuple(fields["classes"])
        results = Results(**fields)
        if not np.isfinite([results.scores[name].mean for name in results.metrics]).all() or not results.metrics:
            raise ValueError("no scores")
        if results.overlap is not None and not {"items", "test_items"} <= set(results.overlap):
            raise ValueError("overlap without items")
        if results.chosen is not None and not {"layer", "rate"} <= set(results.chosen):
            raise ValueError("chosen without layer or rate")
        if not is_unchanged(content):
            raise ValueError("changed since it was written")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MertError(f"{path}: does not hold together ({error}); remove it and give the same `mert probe` again") from None
    return results


def read_scored(folder: Path) -> Scored:
    """Predictions of a task's folder; raises MertError if they are missing or not those of the results."""
    results, path = read_results(folder), Path(folder) / PREDICTIONS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MertError(f"{path}: cannot be read ({error.strerror}); copy it along with {FILE}, or probe again") from None
    if hashlib.sha256(data).hexdigest() != results.predictions_sha256:
        raise MertError(f"{path}: not the predictions that {FILE} was written with; copy both, or probe again")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        items, recordings = (tuple(map(str, arrays[name])) if name in arrays else None for name in ("items", "recordings"))
        return Scored(items, arrays["reference"], arrays["estimates"], results.classes, results.metrics, recordings)


def read_run(folder: Path) -> Dict[str, Results]:
    """Results by task of a run's folder, or of a single task's; raises MertError if there are none, or of two encoders."""
    return {task: read_results(place) for task, place in task_folders(folder).items()}


def task_folders(folder: Path) -> Dict[str, Path]:
    """Where each task's results are; see `read_run`."""
    folder = Path(folder)
    places = [folder] if (folder / FILE).is_file() else sorted(path.parent for path in folder.glob(f"*/{FILE}"))
    if not places:
        raise MertError(f"{folder}: no {FILE} in it nor in a folder below; give the output folder of `mert probe`")
    found: Dict[str, Path] = {}
    encoders: Dict[str, str] = {}
    for place in places:
        results = read_results(place)
        if results.task in found:
            raise MertError(f"{place}: a second {FILE} of {results.task} in this run; keep one of them")
        found[results.task] = place
        encoders[results.encoder.get("weights_hash", "")] = results.task
    if len(encoders) > 1:
        raise MertError(f"{folder}: {' and '.join(encoders.values())} are of different encoders; keep one run per encoder")
    return found
