"""What the alarms are fed with: fairseq's meters every so many updates, and the codes counted in a validation."""

import logging
import math

import pytest
import torch
from fairseq.logging import metrics
from fairseq.tasks.fairseq_task import StatefulContainer

from mert_fairseq.tasks.training_watch import UPDATES_BETWEEN, TrainingWatch, codebook_figures


@pytest.fixture(autouse=True)
def fresh_meters():
    metrics.reset()
    yield
    metrics.reset()


@pytest.fixture
def watch():
    return TrainingWatch(StatefulContainer())


def update(watch, number, features_pen=0.01, lr=0.1, loss_scale=None):
    """One update as the trainer logs it."""
    with metrics.aggregate("train"), metrics.aggregate("train_inner"):
        metrics.log_scalar("lr", lr, weight=0)
        metrics.log_scalar("loss_features_pen", features_pen, 8)
        if loss_scale is not None:
            metrics.log_scalar("loss_scale", loss_scale, weight=0)
        watch.after_update(number)


def test_training_is_looked_at_every_so_many_updates(watch, caplog):
    for number in range(1, 2 * UPDATES_BETWEEN):
        update(watch, number, torch.tensor(0.01 if number <= UPDATES_BETWEEN else 50.0))
    assert caplog.text == ""
    update(watch, 2 * UPDATES_BETWEEN, torch.tensor(50.0))
    assert caplog.text.count("alarm at update 100, feature_norm_blow_up (training): ") == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_features_that_blow_up_before_the_second_look(watch, caplog):
    update(watch, 1, torch.tensor(0.02))
    update(watch, UPDATES_BETWEEN, torch.tensor(100.0))
    assert "alarm at update 50, feature_norm_blow_up" in caplog.text


def test_the_device_is_read_back_only_then(watch):
    class Unread(torch.Tensor):
        def __float__(self):
            raise AssertionError("the device is waited for")

    pen = torch.tensor(0.01).as_subclass(Unread)
    update(watch, 2, pen)
    with pytest.raises(AssertionError, match="waited for"):
        update(watch, UPDATES_BETWEEN, pen)


def test_the_loss_scale_is_that_of_half_precision(watch, caplog):
    update(watch, UPDATES_BETWEEN, loss_scale=0.0625)
    assert "loss_scale_collapse (training): loss scale 0.0625" in caplog.text


def test_without_meters_nothing_is_said(watch, caplog):
    watch.after_update(UPDATES_BETWEEN)
    assert caplog.text == ""


# Two codebooks of 3 and 2 classes; rows: predicted, targets.
COUNTS = torch.tensor([[6, 2, 0, 4, 4], [4, 2, 2, 8, 0]])
STATS = {"correct_m_0": 0.25, "loss_m_0": 1.5, "correct_m_1": 0.5, "loss_m_1": 0.75, "num_updates": 7}


def test_figures_of_a_validation_by_hand(watch):
    stats = dict(STATS)
    watch.count([{"code_counts": COUNTS[:, :]}, {}])
    watch.count([{"code_counts": COUNTS.double()}])  # summed over processes as doubles
    watch.after_validation(stats, [3, 2])
    added = {key: value for key, value in stats.items() if key not in STATS}
    assert added == {
        "perplexity_m_0": round(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)), 2),
        "target_perplexity_m_0": round(math.exp(0.5 * math.log(2) + 0.5 * math.log(4)), 2),
        "most_frequent_m_0": 0.5,
        "perplexity_m_1": 2.0,
        "target_perplexity_m_1": 1.0,
        "most_frequent_m_1": 1.0,
    }
    assert vars(codebook_figures(2 * COUNTS[:, :3], STATS, 0)) == pytest.approx(
        dict(
            num_frames=16,
            num_codes=3,
            accuracy=0.25,
            cross_entropy=1.5,
            baseline=0.5,
            entropy=1.5 * math.log(2),
            predicted_perplexity=math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)),
            target_perplexity=2**1.5,
        )
    )


def test_each_validation_counts_anew(watch):
    for _ in range(2):
        stats = dict(STATS)
        watch.count([{"code_counts": COUNTS}])
        watch.after_validation(stats, [3, 2])
        assert stats["most_frequent_m_0"] == 0.5
    stats = dict(STATS)
    watch.after_validation(stats, [3, 2])  # nothing was counted
    assert stats == STATS


def test_a_dead_codebook_is_told_by_its_second_validation(watch, caplog):
    for number in (UPDATES_BETWEEN, 2 * UPDATES_BETWEEN):  # the learning rate stays: no warm-up
        update(watch, number)
    dead = torch.stack([torch.tensor([200] + [0] * 15), torch.full((16,), 13)])
    for number in range(3):
        watch.count([{"code_counts": dead}])
        watch.after_validation({**STATS, "num_updates": 200 + number}, [16])
    lines = [record.message for record in caplog.records]
    assert [line for line in lines if "collapsed_predictions" in line] == [line for line in lines if "at update 201, coll" in line] != []
