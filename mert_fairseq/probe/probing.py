"""One task from cached features to scores: the grid on validation, the chosen point trained with each seed, its test items scored once."""

import hashlib
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.grid import RATES, GridPoint, Layers, PointScore, Progress, choose, layer_name, make_grid, search
from mert_fairseq.probe.head_training import train_head
from mert_fairseq.probe.items import SPLITS, TaskData
from mert_fairseq.probe.kept_work import KeptWork
from mert_fairseq.probe.provenance import versions
from mert_fairseq.probe.results import Results, SeedScore, scores_of, write_results
from mert_fairseq.probe.significance import Scored
from mert_fairseq.probe.task import Task


@dataclass(frozen=True)
class GridSettings:
    """What is tried and how often the chosen point is trained.

    Attributes:
        layers: hidden states, and None among them for the sum; by default the sum and all of them.
        rates: learning rates.
        seeds: of the heads that are tested; the grid is trained with the first.
    """

    layers: Optional[Tuple[Optional[int], ...]] = None
    rates: Tuple[float, ...] = RATES
    seeds: Tuple[int, ...] = (1, 2, 3)


def probe_task(
    task: Task,
    data: TaskData,
    layers: Layers,
    encoder: Mapping[str, Any],
    folder: Path,
    grid: GridSettings = GridSettings(),
    options: Optional[Mapping[str, Any]] = None,
    progress: Optional[Progress] = None,
    audio_hash: str = "",
    any_counts: bool = False,
    root: Optional[Path] = None,
) -> Results:
    """Trains, chooses, tests, and writes FOLDER/results.json; a rerun goes on where the last one ended.

    Args:
        layers: `WindowData` or `BeatData` of the same task and data.
        encoder: name, weights_hash, num_layers and dim, for the results.
        options: what else was chosen and changes numbers; it is written down, and kept work of others is refused.
        progress: told how many heads of the grid are trained.
        audio_hash: of what was heard; kept work of other audio is refused.
        any_counts: whether other counts than the published ones were allowed, for the results.
        root: the data folder, for the names of annotations in the results.
    """
    if not grid.seeds or len(set(grid.seeds)) != len(grid.seeds):
        raise MertError(f"seeds {', '.join(map(str, grid.seeds)) or 'none'}: one or more different ones wanted")
    points = make_grid(layers.num_layers, grid.layers, grid.rates)
    facts = data_facts(data, root)
    settings = {"hearing": asdict(task.hearing), "head": asdict(task.head), "options": dict(options or {})}
    inputs = {"encoder": encoder["weights_hash"], "data": facts["hash"], "audio": audio_hash}
    work = KeptWork(Path(folder) / "work", {"task": task.name, "monitor": task.monitor, **inputs, **settings})
    scores = search(layers, points, task.head, grid.seeds[0], work, progress)
    chosen = choose(scores)
    scored, heads = _test(task, data, layers, chosen.point, grid.seeds, work)
    per_seed, together = scores_of(scored)
    results = Results(
        task=task.name, metrics=tuple(task.metrics), monitor=task.monitor, classes=tuple(data.classes), encoder=dict(encoder),
        data=facts,
        settings={**settings, **asked(grid, layers.num_layers), "audio": audio_hash, "any_counts": any_counts},
        versions=versions(), grid=[asdict(one) for one in scores], chosen=_named(chosen),
        seeds=[work.read_as(head, partial(SeedScore, scores=found)) for head, found in zip(heads, per_seed)],
        scores=together, predictions_sha256="",
    )  # fmt: skip
    return write_results(Path(folder), results, scored)


def asked(grid: GridSettings, num_layers: int) -> Dict[str, Any]:
    """What a grid is made of, as results keep it."""
    layers = {layer_name(point.layer): None for point in make_grid(num_layers, grid.layers, grid.rates)}
    return {"layers": list(layers), "rates": list(grid.rates), "seeds": list(grid.seeds)}


def data_hash(data: TaskData) -> str:
    """sha256 of all items: name, split, part, label, and of the names of classes; the same wherever the data lies."""
    digest = hashlib.sha256(repr(tuple(data.classes)).encode())
    for item in data.items:
        digest.update(f"\n{item.name}\t{item.split}\t{item.start_s}\t{item.stop_s}\t".encode())
        parts = [getattr(item.label, part.name) for part in fields(item.label)] if is_dataclass(item.label) else [item.label]
        for part in parts:
            digest.update(part.name.encode() if isinstance(part, Path) else np.ascontiguousarray(part, np.float64).tobytes())
    return digest.hexdigest()


def data_facts(data: TaskData, root: Optional[Path] = None) -> Dict[str, Any]:
    """For the results: hash of the items, items per split, what was dropped, sha256 of each file that labels were read from.

    Args:
        root: the data folder, below which files are named; several may have one name in different folders.
    """
    annotations = {}
    for path in data.annotations:
        with open(path, "rb") as file:
            inside = root is not None and Path(path).is_relative_to(root)
            annotations[Path(path).relative_to(root).as_posix() if inside else Path(path).name] = hashlib.file_digest(
                file, "sha256"
            ).hexdigest()
    counts = {split: len(data.of(split)) for split in SPLITS}
    return {"hash": data_hash(data), "items": counts, "dropped": list(data.dropped), "annotations": annotations}


def _named(chosen: PointScore) -> Dict[str, Any]:
    return {"layer": chosen.layer, "rate": chosen.rate, "validation": chosen.validation}


def _test(
    task: Task, data: TaskData, layers: Layers, point: GridPoint, seeds: Sequence[int], work: KeptWork
) -> Tuple[Scored, List[str]]:
    """Test items' estimates of one head per seed, and under which name each head's piece is kept."""
    names = [f"test_{point.name}_seed-{seed}" for seed in seeds]
    examples = layers.of_layer(point.layer) if any(work.read(name) is None for name in names) else None
    for name, seed in zip(names, seeds):
        with work.claimed(name):
            if work.read(name) is None:
                trained = train_head(examples, task.head, point.rate, seed)
                if not np.isfinite(trained.judged):
                    raise MertError(f"{task.name}: {point.name} did not stay finite with seed {seed}; leave the greatest rates out")
                validation, decision = examples.validate(trained.head)
                content = {"seed": seed, "validation": validation, "decision": decision, "epoch": trained.epoch}
                work.write(name, content, examples.estimate(trained.head, "test", decision).astype(np.float32))
    estimates = np.stack([work.read_array(name) for name in names])
    items = data.of("test")
    parts = tuple(item.recording or item.name for item in items) if any(item.recording for item in items) else None
    own = tuple(item.name for item in items), layers.reference("test"), estimates, tuple(data.classes), tuple(task.metrics)
    return Scored(*own, parts), names
