"""From the outputs of an item's windows to one output per item.

The mean of the logits is the rule of all tasks but GiantSteps key, where the published code (MARBLE v1) has four ways and takes the one
with the best validation score.
"""

from typing import Callable, Dict, Tuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import softmax


def mean(logits: np.ndarray, owner: np.ndarray, num_items: int) -> np.ndarray:
    """[N, C] of windows, [N] item of each -> [n, C] means; in float64, summed in order, so that the same windows give the same numbers."""
    counts = np.bincount(owner, minlength=num_items)
    shape = (num_items, len(owner))
    return csr_matrix((1.0 / counts[owner], (owner, np.arange(len(owner)))), shape=shape) @ logits.astype(np.float64)


def mean_probability(logits: np.ndarray, owner: np.ndarray, num_items: int) -> np.ndarray:
    """[n, C] means of the windows' softmax."""
    return mean(softmax(logits.astype(np.float64), axis=-1), owner, num_items)


def largest(logits: np.ndarray, owner: np.ndarray, num_items: int) -> np.ndarray:
    """[n, C] each class's largest logit of all windows."""
    found = np.full((num_items, logits.shape[1]), -np.inf)
    np.maximum.at(found, owner, logits)
    return found


def majority(logits: np.ndarray, owner: np.ndarray, num_items: int) -> np.ndarray:
    """[n, C] votes of windows for their best class; a tie goes to the class with the greater mean probability."""
    votes = np.zeros((num_items, logits.shape[1]))
    np.add.at(votes, (owner, logits.argmax(-1)), 1.0)
    return votes + 0.5 * mean_probability(logits, owner, num_items)


Decision = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
DECISIONS: Dict[str, Decision] = {"mean": mean, "mean_probability": mean_probability, "largest": largest, "majority": majority}


def decisions_for(metrics: Tuple[str, ...]) -> Tuple[str, ...]:
    """Names of the ways that validation may choose from."""
    return tuple(DECISIONS) if "weighted_score" in metrics else ("mean",)
