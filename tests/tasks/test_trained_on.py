"""A run goes on with the data that its checkpoint is of, or is asked."""

import pytest

from mert_fairseq.errors import MertError
from mert_fairseq.tasks.trained_on import check_same_data

KEPT = {"rows": "r", "codes": ["a", "b"], "cqt": "c"}
FOLDERS = ["labels/train.encodec", "labels/train.mfcc", "labels/train.cqt"]


def check(before, now, accept=False):
    check_same_data(before, now, "manifest/train.tsv", FOLDERS, accept)


@pytest.mark.parametrize("before,now", [(KEPT, KEPT), ({}, KEPT), ({**KEPT, "cqt": None}, KEPT), (KEPT, {**KEPT, "cqt": None})])
def test_the_same_data_and_checkpoints_that_say_nothing(before, now):
    """A CQT that is computed from crops is the kept one's."""
    check(before, now)


@pytest.mark.parametrize(
    "change,named",
    [
        ({"rows": "other"}, "(manifest/train.tsv holds other rows)"),
        ({"codes": ["a", "other"]}, "(labels/train.encodec, labels/train.mfcc: codes of another teacher)"),
        ({"codes": ["b", "a"]}, "(labels/train.encodec, labels/train.mfcc: codes of another teacher)"),
        ({"codes": ["a"]}, "codes of another teacher"),
        ({"cqt": "other"}, "(labels/train.cqt: a CQT of other settings)"),
        ({"rows": "other", "cqt": "other"}, "holds other rows; labels/train.cqt"),
    ],
)
def test_other_data_is_refused_or_accepted(change, named):
    with pytest.raises(MertError) as refusal:
        check(KEPT, {**KEPT, **change})
    assert named in str(refusal.value) and "task.accept_new_data=true" in str(refusal.value)
    check(KEPT, {**KEPT, **change}, accept=True)
