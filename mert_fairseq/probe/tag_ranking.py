"""ROC-AUC and average precision of many weightings of the same items at once, as a bootstrap needs them.

scikit-learn's functions, which give the scores themselves, sort anew for each sample; here a tag's items are sorted once. Their values are
the same (a test holds one to the other).
"""

from typing import Tuple

import numpy as np

CHUNK = 100  # weightings at a time, so that memory stays small


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
        ranked = estimate[order, tag]
        firsts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # of items with equal outputs
        positive = reference[order, tag].astype(bool)
        for first in range(0, len(weights), CHUNK):
            part = slice(first, first + CHUNK)
            values, defined = _one_tag(weights[part][:, order], positive, firsts)
            sums[:, part] += values
            tags[part] += defined
    with np.errstate(invalid="ignore"):
        return sums[0] / tags, sums[1] / tags


def _one_tag(weights: np.ndarray, positive: np.ndarray, firsts: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """([2, W] of the tag, 0 where undefined; [W] whether it is defined), items from the greatest output down."""
    hits = np.add.reduceat(np.where(positive, weights, 0.0), firsts, axis=1)  # [W, G] of each distinct output
    misses = np.add.reduceat(np.where(positive, 0.0, weights), firsts, axis=1)
    all_hits, all_misses = hits.cumsum(1), misses.cumsum(1)
    num_hits, num_misses = all_hits[:, -1], all_misses[:, -1]
    defined = (num_hits > 0) & (num_misses > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = num_misses[:, None] - all_misses + misses / 2  # a tie counts half
        roc_auc = (hits * below).sum(1) / (num_hits * num_misses)
        precision = np.where(all_hits > 0, all_hits / (all_hits + all_misses), 0.0)
        average_precision = (hits * precision).sum(1) / num_hits
    return np.where(defined, [roc_auc, average_precision], 0.0), defined
