"""Scores of a task's items, by well-kept libraries: scikit-learn and mir_eval. Higher is better; all but SDR are at most 1.

A metric takes rows of items, so that any sample of the items can be scored the same way:

    name               reference                          estimate
    accuracy           [n] class numbers                  [n, C] outputs, the largest one counts
    weighted_score     [n] key numbers                    [n, 24] outputs, the largest one counts
    roc_auc            [n, C] of 0 and 1                  [n, C] outputs
    average_precision  [n, C] of 0 and 1                  [n, C] outputs
    r2, r2_{value}     [n, R] values                      [n, R] values
    f_measure          [n] numbers of beats               [n, 2]: beats matched, beats estimated
    sdr_{stem}         [n, C], not used                   [n, C] dB per stem
"""

import functools
from types import ModuleType
from typing import Optional, Sequence, Tuple

import numpy as np

from mert_fairseq.errors import MertError


def in_points(name: str, value: float) -> float:
    """As tables have it: shares times 100, SDR in dB as it is. Averages over tasks are of points (MARBLE, MERT)."""
    return value if name.startswith("sdr") else 100 * value


@functools.cache
def scoring_libraries() -> Tuple[ModuleType, ModuleType]:
    """mir_eval and sklearn.metrics, imported when a score is asked for: they take seconds, and other commands need neither.

    Raises:
        MertError: one of them is not installed.
    """
    try:
        import mir_eval
        from sklearn import metrics as sklearn_metrics
    except ImportError as error:
        raise MertError(f"scores need a library that cannot be imported ({error}); pip install 'mert-fairseq[probing]'") from None
    return mir_eval, sklearn_metrics


def score(name: str, reference: np.ndarray, estimate: np.ndarray, classes: Sequence[str]) -> float:
    """One metric over items.

    Args:
        name: as in the table above.
        classes: names of classes, tags, values or stems.

    Raises:
        MertError: no such metric, no items, or rows that it cannot score; among them outputs that are not finite.
    """
    if not len(reference) or len(reference) != len(estimate):
        raise MertError(f"{name}: {len(reference)} references and {len(estimate)} estimates; as many of both, and at least one, wanted")
    if not np.isfinite(estimate).all():
        raise MertError(f"{name}: an estimate is not finite; a smaller learning rate is needed")
    of_items = per_item(name, reference, estimate, tuple(classes))
    if of_items is not None:
        return float(of_items.mean())
    family, column = parse_metric(name, tuple(classes))
    if family == "r2":
        return _r2(reference, estimate, column)
    return {"roc_auc": _roc_auc, "average_precision": _average_precision, "f_measure": _f_measure}[family](reference, estimate)


def per_item(name: str, reference: np.ndarray, estimate: np.ndarray, classes: Tuple[str, ...]) -> Optional[np.ndarray]:
    """[n] scores whose mean is the metric; None for a metric that is no mean over items."""
    family, column = parse_metric(name, classes)
    if family == "accuracy":
        return (estimate.argmax(-1) == reference).astype(float)
    if family == "weighted_score":
        return _key_scores(classes)[reference, estimate.argmax(-1)]
    if family == "sdr":
        return estimate.astype(float).mean(-1) if column is None else estimate[:, column].astype(float)
    return None


def parse_metric(name: str, classes: Tuple[str, ...]) -> Tuple[str, Optional[int]]:
    """(family, column) of a metric's name; "r2_valence" is column `valence` of r2."""
    if name in ("accuracy", "weighted_score", "roc_auc", "average_precision", "r2", "f_measure", "sdr"):
        return name, None
    family, _, wanted = name.partition("_")
    if family in ("r2", "sdr") and wanted in classes:
        return family, classes.index(wanted)
    raise MertError(f"metric {name!r} of {', '.join(classes)[:80]}: not one that metrics.py has")


def scored_tags(reference: np.ndarray) -> np.ndarray:
    """[C] bool: tags that some of the items have and some have not. No ranking can be judged of the others: macro averages leave them out.

    All tags of the published test sets are of this kind; those of a small sample may not be.
    """
    positives = reference.sum(0)
    return (positives > 0) & (positives < len(reference))


@functools.lru_cache(maxsize=8)
def _key_scores(classes: Tuple[str, ...]) -> np.ndarray:
    """[reference, estimate] scores between keys: 1 the same, 0.5 a fifth above, 0.3 relative, 0.2 parallel (mir_eval, after MIREX)."""
    mir_eval, _ = scoring_libraries()
    try:
        return np.array([[mir_eval.key.weighted_score(one, other) for other in classes] for one in classes])
    except ValueError as error:
        raise MertError(f"weighted_score: {error}; keys are named like 'Eb minor'") from None


def _roc_auc(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Mean over tags of the area under the ROC curve."""
    kept = _kept(reference, "roc_auc")
    return float(scoring_libraries()[1].roc_auc_score(reference[:, kept], estimate[:, kept], average="macro"))


def _average_precision(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Mean over tags of the average precision."""
    kept = _kept(reference, "average_precision")
    return float(scoring_libraries()[1].average_precision_score(reference[:, kept], estimate[:, kept], average="macro"))


def _kept(reference: np.ndarray, name: str) -> np.ndarray:
    kept = scored_tags(reference)
    if not kept.any():
        raise MertError(f"{name}: none of {reference.shape[1]} tags is on some of the {len(reference)} items and not on others")
    return kept


def _r2(reference: np.ndarray, estimate: np.ndarray, column: Optional[int]) -> float:
    """Share of the variance that is explained; the mean over values where no column is given."""
    if len(reference) < 2 or (np.ptp(reference, axis=0) == 0).any():
        raise MertError(f"r2: {len(reference)} items without any variance; it is defined for two different values and more")
    scores = scoring_libraries()[1].r2_score(reference, estimate, multioutput="raw_values")
    return float(scores.mean() if column is None else scores[column])


def _f_measure(reference: np.ndarray, estimate: np.ndarray) -> float:
    """2 PR / (P + R) of beats counted over all recordings together; 0 where there is nothing to find and nothing found."""
    both = reference.sum() + estimate[:, 1].sum()
    return float(2 * estimate[:, 0].sum() / both) if both else 0.0
