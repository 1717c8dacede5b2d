"""Metrics of many weightings of the same items at once, as a bootstrap needs them.

The scores themselves are had from the libraries in `metrics`; those sort and count anew for each sample, which takes minutes where this
takes seconds. Their values are the same: a test holds each to the other.
"""

from typing import Dict, Tuple

import numpy as np

from mert_fairseq.probe.metrics import parse_metric, per_item

CHUNK = 100  # weightings at a time, so that memory stays small
RANKINGS = ("roc_auc", "average_precision")


def weighted_scores(
    metrics: Tuple[str, ...], reference: np.ndarray, estimate: np.ndarray, classes: Tuple[str, ...], weights: np.ndarray
) -> Dict[str, np.ndarray]:
    """[W] scores of each metric; NaN where a weighting leaves nothing to score.

    Args:
        reference, estimate: [n, ...], see `metrics`.
        weights: [W, n], e.g. how often each item was drawn.
    """
    found = {}
    rankings = weighted_rankings(reference, estimate, weights) if set(metrics) & set(RANKINGS) else ()
    for name in metrics:
        of_items = per_item(name, reference, estimate, classes)
        if of_items is not None:
            found[name] = weights @ of_items / weights.sum(1)
        elif name in RANKINGS:
            found[name] = rankings[RANKINGS.index(name)]
        elif name == "f_measure":
            matched, estimated = (weights @ estimate).T
            found[name] = 2 * matched / np.maximum(weights @ reference + estimated, 1)
        else:
            column = parse_metric(name, classes)[1]
            values = _weighted_r2(reference, estimate, weights)
            found[name] = values.mean(1) if column is None else values[:, column]
    return found


def _weighted_r2(reference: np.ndarray, estimate: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[W, R]; NaN where all weight is on one value."""
    total = weights.sum(1, keepdims=True)
    centred = reference - reference.mean(0)
    squares = weights @ centred**2
    deviation = squares - (weights @ centred) ** 2 / total
    deviation[deviation <= 1e-9 * squares] = np.nan  # nothing but rounding is left
    return 1 - weights @ (reference - estimate) ** 2 / deviation


def weighted_rankings(reference: np.ndarray, estimate: np.ndarray, weights: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Macro ROC-AUC and macro average precision, [W] each.

    Args:
        reference: [n, C] of 0 and 1.
        estimate: [n, C].
        weights: [W, n], e.g. how often each item was drawn. A tag without positives or negatives under a weighting is left out of its mean.
    """
    sums = np.zeros((2, len(weights)))
    tags = np.zeros(len(weights))
    for tag in range(reference.shape[1]):
        order = np.argsort(-estimate[:, tag], kind="stable")
        positives = np.flatnonzero(reference[order, tag])
        if not len(positives):
            continue
        ranked = estimate[order, tag]
        firsts = np.searchsorted(-ranked, -ranked[positives], "left")  # of the items with the same output
        behind = np.searchsorted(-ranked, -ranked[positives], "right")
        for first in range(0, len(weights), CHUNK):
            part = slice(first, first + CHUNK)
            values, defined = _one_tag(weights[part][:, order], positives, firsts, behind)
            sums[:, part] += values
            tags[part] += defined
    with np.errstate(invalid="ignore"):
        return sums[0] / tags, sums[1] / tags


def _one_tag(weights: np.ndarray, positives: np.ndarray, firsts: np.ndarray, behind: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """([2, W] of the tag, 0 where undefined; [W] whether it is defined).

    Args:
        weights: [W, n], items from the greatest output down.
        positives: [P] places of those with the tag.
        firsts, behind: [P] where the items with the same output begin, and end.
    """
    above = np.concatenate([np.zeros((len(weights), 1)), weights.cumsum(1)], 1)  # weight of the items before each place
    starts = np.flatnonzero(np.r_[True, firsts[1:] != firsts[:-1]])  # of distinct outputs among the positives
    hits = np.add.reduceat(weights[:, positives], starts, axis=1)  # [W, G]
    of_output, reached = above[:, behind[starts]] - above[:, firsts[starts]], above[:, behind[starts]]
    all_hits = hits.cumsum(1)
    num_hits = all_hits[:, -1]
    num_misses = above[:, -1] - num_hits
    defined = (num_hits > 0) & (num_misses > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = num_misses[:, None] - (reached - all_hits) + (of_output - hits) / 2  # a tie counts half
        roc_auc = (hits * below).sum(1) / (num_hits * num_misses)
        average_precision = (hits * np.where(reached > 0, all_hits / reached, 0.0)).sum(1) / num_hits
    return np.where(defined, [roc_auc, average_precision], 0.0), defined
