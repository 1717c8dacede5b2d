"""Baselines of codes and CQT, as computed by hand."""

import math

import pytest
from baselines_by_hand import BY_HAND, CQT_BY_HAND, LN2, assert_close

from mert_fairseq.errors import MertError
from mert_fairseq.report import baselines
from mert_fairseq.report.baselines import CodeBaseline, code_baselines, cqt_baseline


@pytest.mark.parametrize("block", [1, 2, 1 << 15])
def test_code_baselines_by_hand(stores, monkeypatch, block):
    monkeypatch.setattr(baselines, "BLOCK", block)
    train, valid = stores("codes")
    found = code_baselines([train], [valid])
    assert len(found) == 2
    for ours, by_hand in zip(found, BY_HAND):
        assert_close(ours, by_hand)


def test_stores_lie_side_by_side(stores):
    train, valid = stores("codes")
    other_train, other_valid = stores("codes", ([[3, 0]], [[3, 0]]), ([[3, 0]], [[3, 0]]), name="other")
    found = code_baselines([other_train, train], [other_valid, valid])
    assert len(found) == 4
    # Two frames of one code: the guess by train's frequencies is (2 + 1) / (2 + 4), and (2 + 1) / (2 + 3).
    assert_close(found[0], CodeBaseline(0.0, LN2, 1.0, 1.0))
    assert_close(found[1], CodeBaseline(0.0, math.log(5 / 3), 1.0, 1.0))
    assert_close(found[2], BY_HAND[0])


def test_code_baselines_refuse_a_code_out_of_range(stores):
    train, valid = stores("codes", valid=([[0, 3]], [[1, 1]]))
    with pytest.raises(MertError, match="valid.codes: code 3 of codebook 1, 0..2 allowed"):
        code_baselines([train], [valid])


@pytest.mark.parametrize("block", [1, 1 << 15])
def test_cqt_baseline_by_hand(stores, monkeypatch, block):
    monkeypatch.setattr(baselines, "BLOCK", block)
    assert_close(cqt_baseline(*stores("cqt")), CQT_BY_HAND)
