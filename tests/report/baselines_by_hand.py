"""A few targets, and their baselines computed by hand."""

import math

import pytest

from mert_fairseq.report.baselines import CodeBaseline, CQTBaseline

LN2 = math.log(2)
#: Two rows each; codebooks of 4 and 3 entries.
TRAIN_CODES = ([[0, 2], [0, 2], [1, 2]], [[0, 0]])
VALID_CODES = ([[0, 1], [1, 1]], [[2, 2], [2, 1]])
#: What they give by hand. Codebook 0: train 3, 1, 0, 0 with one added to each is 4/8, 2/8, 1/8, 1/8; valid is 1/4, 1/4, 2/4.
#: Codebook 1: train 1, 0, 3 gives 2/7, 1/7, 4/7; valid is 0, 3/4, 1/4.
BY_HAND = [
    CodeBaseline(
        entropy=(0.25 * 2 + 0.25 * 2 + 0.5 * 1) * LN2,
        cross_entropy=(0.25 * 1 + 0.25 * 2 + 0.5 * 3) * LN2,
        accuracy_train=0.25,
        accuracy_heldout=0.5,
    ),
    CodeBaseline(
        entropy=0.75 * math.log(4 / 3) + 0.25 * math.log(4),
        cross_entropy=0.75 * math.log(7) + 0.25 * math.log(7 / 4),
        accuracy_train=0.25,
        accuracy_heldout=0.75,
    ),
]
#: Train's mean is (1, 2), valid's (2, 2); valid's variances are 1 and 4, its mean squares about train's mean 2 and 4.
TRAIN_CQT = ([[0, 2]], [[2, 2], [1, 2]])
VALID_CQT = ([[1, 4]], [[3, 0]])
CQT_BY_HAND = CQTBaseline(mse_train=3.0, mse_heldout=2.5)


def assert_close(ours, theirs):
    assert vars(ours) == pytest.approx(vars(theirs), rel=1e-12)
