"""Skipping what is not finite, counting it, and stopping in time."""

import time

import pytest
import torch
from fairseq.tasks.fairseq_task import StatefulContainer

from mert_fairseq.errors import MertError
from mert_fairseq.tasks.mert_pretraining import MERTPretrainingTask
from mert_fairseq.tasks.nonfinite import NonFiniteUpdates, SkippedUpdate, guarded
from mert_fairseq.tasks.throughput import StepClock

FINE, NAN, INF = (torch.tensor(value) for value in (1.0, float("nan"), float("inf")))


def watch():
    state = StatefulContainer()
    return NonFiniteUpdates(state, lambda batches: [f"{item}.flac" for ids in batches for item in ids]), state


def judge(updates, norm, patience=3):
    try:
        updates.judge(norm, patience)
    except SkippedUpdate:
        return False
    return True


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_only_finite_gradients_are_applied(bad):
    updates, state = watch()
    assert judge(updates, FINE) and not judge(updates, bad) and judge(updates, 0.5)
    assert state.skipped_updates == 1


def test_only_those_in_a_row_stop_the_run():
    updates, state = watch()
    for _ in range(4):
        assert not judge(updates, NAN) and not judge(updates, NAN) and judge(updates, FINE)
    assert not judge(updates, NAN) and not judge(updates, NAN)
    with pytest.raises(MertError, match=r"3 in a row.*criterion.nan_patience=3 is reached"):
        judge(updates, NAN)
    assert state.skipped_updates == 11


def test_the_files_of_the_bad_batch_are_named():
    updates, _ = watch()
    updates.begin_update()
    updates.note([1, 2], FINE)
    updates.note([4, 3], NAN)
    assert updates.culprits() == "files: 3.flac, 4.flac"
    updates.begin_update()
    updates.note([5], FINE)
    assert updates.culprits() == "all losses are finite; files: 5.flac"


def test_a_skipped_update_takes_no_step_and_says_nothing():
    class Trainer:
        task, zeroed = object(), 0

        def zero_grad(self):
            self.zeroed += 1

        def train_step(self, samples):
            if samples == "bad":
                raise SkippedUpdate("x")
            return samples

    trainer, step = Trainer(), guarded(Trainer.train_step)
    assert step(trainer, "good") == "good" and trainer.zeroed == 0
    assert step(trainer, "bad") is None and trainer.zeroed == 1


def test_a_skipped_updates_wait_is_not_the_next_ones():
    """Neither where the gradient is not finite nor where half precision overflows, of which fairseq's step returns None."""

    class Task:
        clock = StepClock()

        def end_skipped_update(self):
            MERTPretrainingTask.end_skipped_update(self)

    class Trainer:
        task = Task()

        def zero_grad(self):
            pass

        def train_step(self, samples):
            if samples == "bad":
                raise SkippedUpdate("x")
            return None if samples == "overflow" else self.task.clock.lap()

    def slow(batches):
        for batch in batches:
            time.sleep(0.05 if batch != "good" else 0)
            yield batch

    trainer, step = Trainer(), guarded(Trainer.train_step)
    laps = [step(trainer, batch) for batch in trainer.task.clock.time_waits(slow(["bad", "good", "overflow", "good"]))]
    assert laps[0] is None and laps[2] is None
    assert laps[1]["waited"] < 0.05 and laps[3]["waited"] < 0.05
