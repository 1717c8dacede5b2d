"""The first 200 updates of mert_tiny are those that were recorded (tests/golden/loss_curve.json)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))

import loss_curve
import pytest


@pytest.fixture(scope="module")
def recorded():
    return loss_curve.read()


def test_the_recorded_curve(recorded, tmp_path):
    assert loss_curve.beyond_tolerance(loss_curve.train(tmp_path), recorded) == []


def test_the_recorded_run_learned(recorded):
    """What is held to is a run that is worth it."""
    for term in ("loss_codes_m", "loss_cqt_m"):
        assert recorded[term][-1] < 0.5 * recorded[term][0]


@pytest.mark.parametrize("term", loss_curve.TOLERANCE)
@pytest.mark.parametrize("point, update", [(0, 10), (-1, 200)])
def test_a_drift_would_be_seen_and_named(recorded, term, point, update):
    off = {name: list(values) for name, values in recorded.items()}
    off[term][point] *= 1 + 1.1 * loss_curve.TOLERANCE[term] + 1e-4
    (said,) = loss_curve.beyond_tolerance(off, recorded)
    assert said.startswith(f"{term}: off by ") and f" at update {update} (" in said
