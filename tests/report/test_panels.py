"""Diagrams of curves: what is drawn, what is left out, and what the panels of runs hold."""

import io

import numpy as np
import pytest
from run_folders import line, train_record, valid_record

from mert_fairseq.report import canvas
from mert_fairseq.report.comparison import MISSING, differing_settings, final_figures, learning_panels, names_of, running_panels
from mert_fairseq.report.panels import Curve, Level, Panel, draw_panels, running_mean
from mert_fairseq.report.run import read_run
from mert_fairseq.report.run_curves import accuracy_panels, loss_panels, optimisation_panels, speed_panels, usage_panels


def curve(values, **changes):
    return Curve("c", (list(range(len(values))), values), "#0072B2", **changes)


@pytest.fixture
def drawn(monkeypatch):
    """The figures drawn, as matplotlib has them."""
    figures, draw = [], canvas.as_png
    monkeypatch.setattr("mert_fairseq.report.panels.as_png", lambda figure: figures.append(figure) or draw(figure))
    return figures


def test_a_running_mean_by_hand():
    assert running_mean(np.array([1.0, 2.0, 6.0, 3.0]), 3).tolist() == [1.5, 3.0, 11 / 3, 4.5]
    assert running_mean(np.array([4.0, 8.0]), 1).tolist() == [4.0, 8.0]


def test_a_picture_of_panels(drawn):
    panels = [Panel("a", [curve([1, 2, 3])], [Level("known", 2.5)]), Panel("b", [curve([])]), Panel("c", [curve([1.0, 10.0])], log=True)]
    content = draw_panels(panels, columns=2)
    axes = drawn[0].axes
    assert [place.get_title(loc="left") for place in axes] == ["a", "b", "c", ""]
    assert axes[0].lines[0].get_ydata().tolist() == [1, 2, 3] and axes[0].lines[1].get_ydata()[0] == 2.5
    assert axes[1].texts[0].get_text() == "not in this log" and not axes[1].lines
    assert axes[2].get_yscale() == "log" and not axes[3].axison
    from matplotlib import image

    assert image.imread(io.BytesIO(content)).shape[1] == 13.2 * canvas.DPI


def test_values_that_are_no_numbers_are_left_out(drawn):
    draw_panels([Panel("a", [curve([1.0, float("nan"), 3.0, float("inf")])], log=True), Panel("b", [curve([float("nan")])])])
    assert drawn[0].axes[0].lines[0].get_xdata().tolist() == [0, 2]
    assert drawn[0].axes[1].texts[0].get_text() == "not in this log"


def test_long_curves_are_drawn_smooth_over_themselves(drawn):
    values = [0.0, 1.0] * 100
    draw_panels([Panel("a", [curve(values)])])
    raw, smooth = drawn[0].axes[0].lines
    assert raw.get_ydata().tolist() == values and 0.4 < min(smooth.get_ydata()[10:-10]) < max(smooth.get_ydata()[10:-10]) < 0.6


def points(panels):
    """Title -> label -> values."""
    return {panel.title: {own.label: list(own.points[1]) for own in panel.drawn} for panel in panels}


def levels(panel):
    return {level.label: level.value for level in panel.levels}


def test_the_panels_of_a_run(runs):
    run = read_run(runs.make())
    loss = loss_panels(run)
    assert points(loss)["codes: cross-entropy, nats"] == {"training": [8.9, 8.8, 8.7, 8.6], "held out": [9.3, 9.1]}
    assert levels(loss[1]) == {"held-out entropy": pytest.approx(sum(own.entropy for own in run.learning.codes))}
    assert levels(loss[2]) == {"mean spectrum": run.learning.cqt.mse_heldout} and loss[2].title == "CQT error (weight 60)"
    accuracy = accuracy_panels(run)
    assert points(accuracy)["codebook 1"] == {"training": [25.0] * 4, "held out": [12.5] * 2}
    assert levels(accuracy[1]) == {"most frequent code": 50.0}
    optimisation = points(optimisation_panels(run))
    assert optimisation["gradient norm"] == {"training": [3.5] * 4} and optimisation["learning rate"] == {"training": [0.001] * 4}
    assert levels(optimisation_panels(run)[0]) == {"clip_norm 10.0": 10.0} and "loss scale" not in optimisation
    speed = points(speed_panels(run))
    assert speed["model FLOP utilisation, %"] == {"training": [75.0] * 4} and speed["waiting for data, %"] == {"training": [3.0] * 4}
    perplexity, ratio = usage_panels(run)
    assert points([perplexity])[perplexity.title] == {"0": [3, 3], "1": [2, 2]}
    assert points([ratio])[ratio.title] == {"0": [0.5, 0.5], "1": [0.25, 0.25]}


def test_half_precision_shows_its_loss_scale(runs):
    run = read_run(runs.make(log=[line(train_record(10, loss_scale=128)), line(train_record(20, loss_scale=64))]))
    assert points(optimisation_panels(run))["loss scale"] == {"training": [128, 64]}


@pytest.fixture
def two(runs):
    """A run, and one of another name, rate and length, that is worse and whose targets are gone."""
    other = [line(train_record(update, mfu=0.5)) for update in (10, 20)] + [line(valid_record(20, loss_cqt_m=None), "valid")]
    gone = {"task__label_dir": "/nowhere", "optimization__lr": [0.002], "model__note": "<b>", "criterion__cqt_weight": 60}
    return [read_run(runs.make()), read_run(runs.make("other", log=other, **gone))]


def test_curves_of_several_runs(two):
    learning, running = points(learning_panels(two)), points(running_panels(two))
    assert learning["codes: cross-entropy, nats"] == {"run": [9.3, 9.1], "other": [9.3]}
    assert learning["mean accuracy of the codebooks, %"] == {"run": [6.75, 6.75], "other": [6.75]}
    assert list(learning["nats below the codes' entropy, summed"]) == ["run"] and list(learning["CQT error"]) == ["run"]
    assert running["model FLOP utilisation, %"] == {"run": [75.0] * 4, "other": [50.0] * 2}


def test_settings_that_differ_and_no_others(two):
    assert differing_settings(two) == {
        "model.note": [MISSING, "<b>"],
        "optimization.lr": ["[0.001]", "[0.002]"],
        "task.label_dir": [two[0].config.task.label_dir, "/nowhere"],
        **{f"version of {name}": [version, MISSING] for name, version in two[0].log.versions.items()},
    }


def test_final_figures(two):
    found = final_figures(two)
    assert found["updates"] == ["40", "20"] and found["codes: cross-entropy, nats"] == ["9.10", "9.30"]
    assert found["model FLOP utilisation, %"] == ["75.0", "50.0"] and found["CQT error"] == ["0.2100", MISSING]
    assert found["nats below the held-out entropy"][1] == MISSING != found["nats below the held-out entropy"][0]
    assert found["state"] == ["finished", "running, or broken off"]


def test_runs_of_one_name_are_told_apart(runs):
    folders = [runs.make(f"{place}/checkpointed") for place in ("a", "b")]
    assert names_of([read_run(folder) for folder in folders]) == ["a/checkpointed", "b/checkpointed"]
    assert names_of([read_run(folders[0])] * 2) == ["checkpointed"] * 2

