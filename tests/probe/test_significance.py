"""Intervals hold what they should, and two models are compared on the same items."""

from dataclasses import replace

import numpy as np
import pytest

from mert_fairseq.errors import MertError
from mert_fairseq.probe.metrics import score
from mert_fairseq.probe.significance import (
    Scored,
    difference,
    draws,
    interval,
    item_draws,
    mean_difference,
    replicate_scores,
    seed_interval,
)


def classified(num_items=400, right=0.7, seed=0, seeds=1):
    """A model that is right on that share of items."""
    random = np.random.default_rng(seed)
    reference = np.random.default_rng(99).integers(0, 4, num_items)
    hit = random.permutation(num_items) < right * num_items
    estimates = np.stack([np.eye(4)[np.where(hit, reference, (reference + 1) % 4)]] * seeds)
    return Scored(tuple(f"item{number}" for number in range(num_items)), reference, estimates, tuple("abcd"), ("accuracy",))


def test_draws_are_as_many_items_with_repetition():
    drawn = draws(50, 200, seed=1)
    assert drawn.shape == (200, 50) and (drawn.sum(1) == 50).all() and (drawn > 1).any()
    assert np.array_equal(drawn, draws(50, 200, seed=1)) and not np.array_equal(drawn, draws(50, 200, seed=2))


def test_an_interval_of_accuracy_is_the_binomial_one():
    low, high = interval(replicate_scores(classified())["accuracy"])
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert low == pytest.approx(0.7 - half, abs=0.01) and high == pytest.approx(0.7 + half, abs=0.01)


def in_chunks(scored, size):
    """The same items, each given `size` times, as parts of one recording."""
    repeated = {name: np.repeat(getattr(scored, name), size, -1 if name == "reference" else 1) for name in ("reference", "estimates")}
    items = tuple(f"{name}-{part}" for name in scored.items for part in range(size))
    return replace(scored, items=items, recordings=tuple(np.repeat(scored.items, size)), **repeated)


def test_parts_of_a_recording_are_drawn_together():
    drawn = item_draws(in_chunks(classified(50), 3), 200, seed=1)
    assert np.array_equal(drawn, np.repeat(draws(50, 200, seed=1), 3, 1))
    unequal = replace(classified(4), recordings=("song", "other", "song", "song"))
    drawn = item_draws(unequal, 100)
    assert np.array_equal(drawn[:, [0, 0]], drawn[:, [2, 3]]) and (drawn[:, 0] + drawn[:, 1] == 2).all() and (drawn[:, 0] == 2).any()


def test_chunks_that_say_the_same_make_no_score_surer():
    whole, chunks = classified(100), in_chunks(classified(100), 9)
    assert interval(replicate_scores(chunks)["accuracy"]) == interval(replicate_scores(whole)["accuracy"])
    low, high = interval(replicate_scores(replace(chunks, recordings=None))["accuracy"])
    own_low, own_high = interval(replicate_scores(whole)["accuracy"])
    assert high - low < (own_high - own_low) / 2  # nine times the items: a third of the width


def test_a_model_that_is_always_right_has_no_doubt():
    assert interval(replicate_scores(classified(right=1.0))["accuracy"]) == (1.0, 1.0)


def noise(random):
    return random.standard_normal((40, 3))


@pytest.mark.parametrize(
    "metrics, reference, estimate",
    [
        (("roc_auc", "average_precision"), lambda random: (random.random((40, 3)) < 0.5) * 1, noise),
        (("r2", "r2_b"), lambda random: noise(random) + 5, noise),
        (("f_measure",), lambda random: random.integers(5, 20, 40), lambda random: np.sort(random.integers(1, 9, (40, 2)), 1)),
        (("sdr",), lambda random: np.zeros(40), noise),
    ],
)
def test_a_replicate_is_the_score_of_the_items_drawn(metrics, reference, estimate):
    random = np.random.default_rng(3)
    items, estimates = tuple(map(str, range(40))), np.stack([estimate(random), estimate(random)])
    scored = Scored(items, reference(random), estimates, tuple("abc"), metrics)
    found, drawn = replicate_scores(scored, 5, seed=2), draws(40, 5, seed=2)
    for row in range(5):
        rows = np.repeat(np.arange(40), drawn[row])
        for name in metrics:
            expected = [score(name, scored.reference[rows], one[rows], scored.classes) for one in scored.estimates]
            assert found[name][row] == pytest.approx(np.mean(expected))


def test_a_draw_that_cannot_be_scored_is_left_out():
    scored = Scored(("a", "b", "c"), np.array([[1.0], [1.0], [2.0]]), np.array([[[1.0], [1.5], [2.0]]]), ("x",), ("r2",))
    values = replicate_scores(scored, 200)["r2"]
    assert np.isnan(values).any() and np.isfinite(interval(values)).all()
    with pytest.raises(MertError, match="none of 2 draws"):
        interval(np.array([np.nan, np.nan]))


def test_the_same_model_twice_differs_by_nothing():
    found = difference(classified(), classified())
    assert (found.mean, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_a_better_model_is_better_in_points():
    found = difference(classified(right=0.8, seed=1), classified(right=0.6))
    assert found.mean == pytest.approx(20.0) and found.interval[0] > 10 and found.p < 0.01
    back = difference(classified(right=0.6), classified(right=0.8, seed=1))
    assert back.mean == -found.mean and back.interval == pytest.approx((-found.interval[1], -found.interval[0])) and back.p == found.p


def test_a_difference_within_chance_is_no_difference():
    found = difference(classified(num_items=60, right=0.72, seed=5), classified(num_items=60, right=0.7))
    assert found.interval[0] < 0 < found.interval[1] and found.p > 0.2


def test_pairing_sees_what_two_intervals_do_not():
    """A model that is right wherever the other is, and on some items more."""
    one = classified(right=0.6)
    better = one.estimates.copy()
    wrong = np.flatnonzero(one.estimates[0].argmax(1) != one.reference)[:12]
    better[0, wrong] = np.eye(4)[one.reference[wrong]]
    found = difference(replace(one, estimates=better), one)
    assert found.mean == pytest.approx(3.0) and found.interval[0] > 0 and found.p < 0.01
    separate = [interval(replicate_scores(scored)["accuracy"]) for scored in (one, replace(one, estimates=better))]
    assert separate[0][1] > separate[1][0]  # the two intervals overlap


def test_the_mean_over_tasks_is_of_points():
    decibels = Scored(tuple("abcd"), np.zeros(4), np.full((1, 4, 1), 3.0), ("vocals",), ("sdr_vocals",))
    louder = replace(decibels, estimates=decibels.estimates + 2)
    pairs = [(classified(right=0.8, seed=1), classified(right=0.7)), (louder, decibels)]
    assert mean_difference(pairs).mean == pytest.approx((10 + 2) / 2)


@pytest.mark.parametrize("change", [{"items": tuple("x" * 400)}, {"reference": np.zeros(400, int)}, {"metrics": ("weighted_score",)}])
def test_models_tested_on_other_items_are_not_compared(change):
    with pytest.raises(MertError, match="not tested on the same items and labels"):
        difference(classified(), replace(classified(), **change))


def test_the_interval_over_seeds_is_students():
    """Of 1, 2, 3: mean 2, deviation 1, t of two degrees of freedom 4.3027."""
    assert seed_interval([1, 2, 3]) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    with pytest.raises(MertError, match="2 at least"):
        seed_interval([1.0])
