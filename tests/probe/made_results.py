"""Results of made-up runs, on disk as `mert probe` leaves them."""

from dataclasses import replace

import numpy as np

from mert_fairseq.probe.published import TASKS
from mert_fairseq.probe.results import Results, SeedScore, scores_of, write_results
from mert_fairseq.probe.significance import Scored


def made_scored(task, share, num_items=40):
    """Predictions that are right on that share of items; stems have an SDR of 10 times it."""
    metrics = TASKS.get(task, ("accuracy",))
    reference = np.arange(num_items) % 2
    hit = np.arange(num_items) < share * num_items
    if metrics[0].startswith("sdr"):
        classes, estimate = ("vocals", "drums", "bass", "other"), np.full((num_items, 4), 10 * share)
    elif metrics[0] == "f_measure":
        classes, reference, estimate = ("beat",), np.ones(num_items, int), np.stack([hit, np.ones(num_items, int)], 1)
    elif metrics[0].startswith("r2"):
        classes, reference = ("arousal", "valence"), np.stack([reference, reference], 1) * 1.0
        estimate = reference * share
    elif metrics[0] == "roc_auc":
        classes, reference, estimate = ("tag",), reference[:, None], np.where(hit, reference, 1 - reference)[:, None] * 1.0
    else:
        classes, estimate = ("C major", "F# major"), np.eye(2)[np.where(hit, reference, 1 - reference)]
    items = tuple(f"item{number}" for number in range(num_items))
    return Scored(items, reference, np.stack([estimate, estimate]), classes, metrics)


def write_task(run, task, share, encoder="e" * 64, name="made", recordings=None, **changes):
    """Writes RUN/TASK with that share right; `changes` are of its results."""
    scored = replace(made_scored(task, share), recordings=recordings)
    per_seed, scores = scores_of(scored)
    seeds = [SeedScore(seed, 0.5, "mean", 3, found) for seed, found in enumerate(per_seed, 1)]
    chosen = {"layer": None, "rate": 1e-3, "validation": 0.5}
    facts = Results(
        task=task, metrics=scored.metrics, monitor=scored.metrics[0], classes=scored.classes,
        encoder={"name": name, "weights_hash": encoder, "num_layers": 12, "dim": 768}, data={}, settings={}, versions={}, grid=[],
        chosen=chosen, seeds=seeds, scores=scores, predictions_sha256="",
    )  # fmt: skip
    return write_results(run / task, replace(facts, **changes), scored)


def lines_of(table, start):
    """Of a markdown table."""
    return [line for line in table.splitlines() if line.startswith(start)]
