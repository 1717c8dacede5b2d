"""Each metric against a case worked by hand."""

import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mert_fairseq.errors import MertError
from mert_fairseq.probe.decisions import DECISIONS, decisions_for
from mert_fairseq.probe.metrics import in_points, per_item, score, scoring_libraries
from mert_fairseq.probe.weighted_scores import weighted_rankings

KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in "C Db D Eb E F Gb G Ab A Bb B".split())


def chosen(classes, names):
    """Outputs whose largest one is the class named."""
    return np.eye(len(classes))[[classes.index(name) for name in names]] + 0.1


def test_accuracy():
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4], [0.0, -1.0]])
    assert score("accuracy", np.array([1, 0, 0, 1]), outputs, ("a", "b")) == 0.5


def test_key_score():
    """Of C major: itself 1, a fifth above 0.5, its relative 0.3, its parallel 0.2; a fifth below and all else 0."""
    names = ["C major", "G major", "A minor", "C minor", "F major", "D major"]
    reference = np.full(6, KEYS.index("C major"))
    assert per_item("weighted_score", reference, chosen(KEYS, names), KEYS).tolist() == [1.0, 0.5, 0.3, 0.2, 0.0, 0.0]
    assert score("weighted_score", reference, chosen(KEYS, names), KEYS) == pytest.approx(2 / 6)
    minor = np.full(3, KEYS.index("A minor"))
    assert score("weighted_score", minor, chosen(KEYS, ["E minor", "C major", "A major"]), KEYS) == pytest.approx((0.5 + 0.3 + 0.2) / 3)


def test_keys_that_are_none_are_refused():
    with pytest.raises(MertError, match="keys are named like 'Eb minor'"):
        score("weighted_score", np.array([0]), np.eye(2)[:1], ("H major", "C major"))


# First tag: of 4 pairs of a positive and a negative 3 are in order; precision 1 at the first positive, 2/3 at the second.
# Second tag: all alike.
TAGS = np.array([[1, 1], [0, 1], [1, 0], [0, 0]])
OUTPUTS = np.array([[0.9, 0.5], [0.8, 0.5], [0.3, 0.5], [0.1, 0.5]])


def test_rankings_of_tags():
    assert score("roc_auc", TAGS, OUTPUTS, ("x", "y")) == pytest.approx((0.75 + 0.5) / 2)
    assert score("average_precision", TAGS, OUTPUTS, ("x", "y")) == pytest.approx((5 / 6 + 0.5) / 2)


def test_tags_that_all_or_none_have_are_left_out_of_the_mean():
    tags = np.hstack([TAGS, np.zeros((4, 1)), np.ones((4, 1))])
    outputs = np.hstack([OUTPUTS, OUTPUTS])
    assert score("roc_auc", tags, outputs, tuple("xyzw")) == pytest.approx(0.625)
    assert score("average_precision", tags, outputs, tuple("xyzw")) == pytest.approx((5 / 6 + 0.5) / 2)
    for name in ("roc_auc", "average_precision"):
        with pytest.raises(MertError, match="none of 2 tags"):
            score(name, tags[:, 2:], outputs[:, 2:], tuple("zw"))


def test_r2():
    """First value: squared errors 1, squared deviations 2. Second: exact."""
    reference, estimate = np.array([[1.0, 5], [2, 3], [3, 1]]), np.array([[1.0, 5], [2, 3], [4, 1]])
    names = ("arousal", "valence")
    assert score("r2", reference, estimate, names) == pytest.approx(0.75)
    assert score("r2_arousal", reference, estimate, names) == pytest.approx(0.5)
    assert score("r2_valence", reference, estimate, names) == 1.0
    for wrong in (reference[:1], np.ones((3, 2))):
        with pytest.raises(MertError, match="two different values"):
            score("r2", wrong, estimate[: len(wrong)], names)


def test_beats_are_counted_over_all_recordings_together():
    """3 of 4 estimated and 4 annotated, 0 of 1 and 2: F of 3 matched, 5 estimated, 6 annotated."""
    assert score("f_measure", np.array([4, 2]), np.array([[3, 4], [0, 1]]), ()) == pytest.approx(6 / 11)
    assert score("f_measure", np.array([4]), np.array([[4, 4]]), ()) == 1.0
    assert score("f_measure", np.array([0]), np.array([[0, 0]]), ()) == 0.0


def test_sdr_is_the_mean_over_songs():
    estimate, stems = np.array([[5.0, -1.0], [7.0, 2.0]]), ("vocals", "drums")
    assert score("sdr_vocals", np.zeros(2), estimate, stems) == 6.0 and score("sdr_drums", np.zeros(2), estimate, stems) == 0.5
    assert score("sdr", np.zeros(2), estimate, stems) == 3.25
    assert (in_points("sdr_vocals", 6.0), in_points("accuracy", 0.5)) == (6.0, 50.0)


@pytest.mark.parametrize("name", ["acuracy", "r2_bass", "sdr_vocals", ""])
def test_metrics_that_are_none_are_refused(name):
    with pytest.raises(MertError, match="not one that metrics.py has"):
        score(name, np.ones(2), np.ones((2, 2)), ("arousal", "valence"))


def test_what_cannot_be_scored_is_refused():
    for reference, estimate in ((np.ones(0), np.ones((0, 2))), (np.ones(2), np.ones((3, 2)))):
        with pytest.raises(MertError, match="as many of both"):
            score("accuracy", reference, estimate, ("a", "b"))
    with pytest.raises(MertError, match="not finite"):
        score("accuracy", np.array([0]), np.array([[0.0, np.nan]]), ("a", "b"))


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    scoring_libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "mir_eval", None)
    with pytest.raises(MertError, match=r"mir_eval.*; pip install 'mert-fairseq\[probing\]'"):
        scoring_libraries()


def test_rankings_under_many_weightings_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    tags = (random.random((60, 4)) < 0.3).astype(int)
    outputs = np.round(random.standard_normal((60, 4)) + tags, 1)  # with ties
    weights = random.multinomial(60, np.full(60, 1 / 60), size=230)
    roc_auc, average_precision = weighted_rankings(tags, outputs, weights)
    for row in (0, 99, 100, 229):
        kept = [tag for tag in range(4) if 0 < weights[row] @ tags[:, tag] < 60]
        expected = [roc_auc_score(tags[:, tag], outputs[:, tag], sample_weight=weights[row]) for tag in kept]
        assert roc_auc[row] == pytest.approx(np.mean(expected))
        expected = [average_precision_score(tags[:, tag], outputs[:, tag], sample_weight=weights[row]) for tag in kept]
        assert average_precision[row] == pytest.approx(np.mean(expected))


def test_a_weighting_without_any_positive_has_no_ranking():
    roc_auc, average_precision = weighted_rankings(TAGS, OUTPUTS, np.array([[0, 0, 0, 4], [1, 1, 1, 1], [1, 0, 0, 1]]))
    assert np.isnan([roc_auc[0], average_precision[0]]).all()
    assert roc_auc[1:] == pytest.approx([0.625, 0.75]) and average_precision[1:] == pytest.approx([2 / 3, 0.75])


def test_windows_are_decided_in_four_ways():
    """Two windows lean towards class 0 a little, one towards class 1 very much; class 2 has the largest single logit of another item."""
    logits = np.array([[1.0, 0.5, -9.0], [1.0, 0.5, -9.0], [0.0, 6.0, -9.0], [0.0, 0.0, 7.0]])
    owner = np.array([0, 0, 0, 1])
    found = {name: decide(logits, owner, 2) for name, decide in DECISIONS.items()}
    assert {name: decided.argmax(1).tolist() for name, decided in found.items()} == {
        "mean": [1, 2], "mean_probability": [1, 2], "largest": [1, 2], "majority": [0, 2],
    }  # fmt: skip
    assert np.allclose(found["mean"][0], [2 / 3, 7 / 3, -9]) and found["largest"][0].tolist() == [1.0, 6.0, -9.0]
    assert np.allclose(found["mean_probability"].sum(1), 1)
    # mean and mean probability part where one window is very sure of what the others deny
    sure = np.array([[9.0, 0.0], [0.0, 3.0], [0.0, 3.0]])
    assert DECISIONS["mean"](sure, np.zeros(3, int), 1).argmax() == 0
    assert DECISIONS["mean_probability"](sure, np.zeros(3, int), 1).argmax() == 1


def test_a_tie_of_votes_goes_to_the_surer_class():
    logits = np.array([[2.0, 0.0], [0.0, 1.0]])
    assert DECISIONS["majority"](logits, np.zeros(2, int), 1).argmax() == 0
    assert DECISIONS["majority"](logits[:, ::-1], np.zeros(2, int), 1).argmax() == 1


def test_only_keys_are_decided_in_more_ways_than_one():
    assert decisions_for(("weighted_score",)) == ("mean", "mean_probability", "largest", "majority")
    assert decisions_for(("accuracy",)) == decisions_for(("roc_auc", "average_precision")) == ("mean",)
