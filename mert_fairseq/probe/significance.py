"""How sure a score is: bootstrap over test items (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16).

A replicate draws as many items as there are, with repetition, and scores each seed's predictions on the same draw; seeds are averaged.
Items that are parts of one recording are much alike: there recordings are drawn, each with all its items (Field and Welsh, Bootstrapping
clustered data, 2007). Recordings by one artist, singer or instrument are drawn apart: an interval says nothing of other such.
Two models are compared on the same draws, so that what makes an item easy for both is no difference.
"""

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy.special import stdtrit

from mert_fairseq.errors import MertError
from mert_fairseq.probe.metrics import in_points, score
from mert_fairseq.probe.weighted_scores import weighted_scores

REPLICATES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scored:
    """What a task's scores are computed from.

    Attributes:
        items: [n] names.
        reference: [n, ...] and estimates: [seeds, n, ...], as `metrics` wants them.
        classes: names of outputs.
        metrics: their mean is the task's score.
        recordings: [n] name of what each item is part of; None: every item is a recording of its own.
    """

    items: Tuple[str, ...]
    reference: np.ndarray
    estimates: np.ndarray
    classes: Tuple[str, ...]
    metrics: Tuple[str, ...]
    recordings: Optional[Tuple[str, ...]] = None


@dataclass(frozen=True)
class Difference:
    """Attributes: mean difference in points, its interval, and the two-sided p of there being none."""

    mean: float
    interval: Tuple[float, float]
    p: float


def draws(num_items: int, replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """[replicates, n] how often each item is drawn."""
    return np.random.default_rng(seed).multinomial(num_items, np.full(num_items, 1 / num_items), size=replicates)


def item_draws(scored: Scored, replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """[replicates, n] how often each item is drawn: as often as its recording."""
    if scored.recordings is None:
        return draws(len(scored.items), replicates, seed)
    number = {name: place for place, name in enumerate(dict.fromkeys(scored.recordings))}
    return draws(len(number), replicates, seed)[:, [number[name] for name in scored.recordings]]


def replicate_scores(scored: Scored, replicates: int = REPLICATES, seed: int = 0) -> Dict[str, np.ndarray]:
    """Each metric's [replicates] bootstrap scores, averaged over seeds; NaN where a draw cannot be scored."""
    weights = item_draws(scored, replicates, seed)
    per_seed = [weighted_scores(scored.metrics, scored.reference, one, scored.classes, weights) for one in scored.estimates]
    return {name: np.mean([found[name] for found in per_seed], axis=0) for name in scored.metrics}


def interval(values: np.ndarray, confidence: float = CONFIDENCE) -> Tuple[float, float]:
    """Percentiles that hold `confidence` of the replicates; draws that could not be scored are left out."""
    if not np.isfinite(values).any():
        raise MertError(f"none of {len(values)} draws of test items can be scored; more items are needed")
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def task_replicates(scored: Scored, replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """[replicates] of the task's score in points, the mean of its metrics."""
    return np.mean([in_points(name, values) for name, values in replicate_scores(scored, replicates, seed).items()], axis=0)


def difference(one: Scored, other: Scored, replicates: int = REPLICATES, seed: int = 0) -> Difference:
    """One model's task score less another's, on the same items.

    Raises:
        MertError: the two were not scored on the same items and labels.
    """
    return mean_difference([(one, other)], replicates, seed)


def mean_difference(pairs: Sequence[Tuple[Scored, Scored]], replicates: int = REPLICATES, seed: int = 0) -> Difference:
    """The same, averaged over tasks, whose items are drawn independently."""
    values: List[np.ndarray] = []
    means: List[float] = []
    for number, (one, other) in enumerate(pairs):
        _check_same(one, other)
        values.append(task_replicates(one, replicates, seed + number) - task_replicates(other, replicates, seed + number))
        means.append(_task_score(one) - _task_score(other))
    replicated = np.mean(values, axis=0)
    replicated = replicated[np.isfinite(replicated)]
    low, high = interval(replicated)
    beyond = min((replicated <= 0).sum(), (replicated >= 0).sum()) + 1  # the draw that was observed is one of them
    return Difference(float(np.mean(means)), (low, high), float(min(1.0, 2 * beyond / (len(replicated) + 1))))


def seed_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Tuple[float, float]:
    """Student's interval of the mean over seeds, of scores or of differences between two models; raises MertError under two values."""
    if len(values) < 2:
        raise MertError(f"an interval over {len(values)} seeds: 2 at least wanted")
    half = stdtrit(len(values) - 1, (1 + confidence) / 2) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def _task_score(scored: Scored) -> float:
    """In points, the mean over seeds and metrics."""
    found = [[in_points(name, score(name, scored.reference, one, scored.classes)) for name in scored.metrics] for one in scored.estimates]
    return float(np.mean(found))


def _check_same(one: Scored, other: Scored) -> None:
    same_labels = one.reference.shape == other.reference.shape and np.allclose(one.reference, other.reference)
    if (one.items, one.metrics, one.recordings) != (other.items, other.metrics, other.recordings) or not same_labels:
        unlike = f"{len(one.items)} and {len(other.items)} items, {'/'.join(one.metrics)} and {'/'.join(other.metrics)}"
        raise MertError(f"two models were not tested on the same items and labels ({unlike}); probe both with the same data and options")
