"""Training stopped behind any update goes on with other numbers of processes and loader workers: the same numbers, bit for bit."""

import random

import pytest
import training_runs as runs
from same_numbers import first_difference

UPDATES = 20
# 36 crops, 2 a batch, 2 batches an update: epochs end with updates 9 and 18.
SETTINGS = (
    f"optimization.max_update={UPDATES}",
    "checkpoint.save_interval_updates=1",
    "checkpoint.keep_interval_updates=-1",
    "checkpoint.no_epoch_checkpoints=false",
    "checkpoint.save_interval=1",
    "task.max_valid_crops=4",
    "model.mixture_prob=0.5",
    "model.dropout=0.1",
    "model.encoder_layerdrop=0.2",
)
PROCESSES = {
    1: ("optimization.update_freq=[2]",),
    2: ("optimization.update_freq=[1]", "distributed_training.distributed_world_size=2"),
}
STOPPED = random.Random(0).sample(range(1, UPDATES), UPDATES - 1)  # the short form takes the first few


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return runs.build_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def reference(corpus, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("reference") / "run"
    result = runs.train(corpus, run_dir, *SETTINGS, *PROCESSES[1], "dataset.num_workers=0")
    assert result.returncode == 0, result.stderr[-2000:]
    return run_dir


def goes_on(corpus, reference, run_dir, update, processes, num_workers):
    """What became of a run that goes on behind an update, and why."""
    runs.begin_at(run_dir, reference, update)
    result = runs.train(corpus, run_dir, *SETTINGS, *PROCESSES[processes], f"dataset.num_workers={num_workers}")
    if result.returncode != 0:
        return "traceback" if "Traceback" in result.stderr else "lost", result.stderr[-2000:]
    difference = first_difference(run_dir, reference, update, ["train"] if processes > 1 else ["train", "valid"])
    return "silent" if difference else "survived", f"behind update {update}, {processes} processes, {num_workers} workers: {difference}"


def test_stopped_behind_any_update(corpus, reference, tmp_path, faults):
    for update in STOPPED[: faults.times(3, UPDATES - 1)]:
        faults.record("training stopped behind an update", *goes_on(corpus, reference, tmp_path / f"{update}", update, 1, 0))


def test_goes_on_with_other_processes_and_workers(corpus, reference, tmp_path, faults):
    chance = random.Random(1)
    for number in range(faults.times(3, 20)):
        update, processes, workers = chance.randrange(1, UPDATES), chance.choice((1, 2)), chance.choice((0, 1, 4))
        outcome = goes_on(corpus, reference, tmp_path / f"{number}", update, processes, workers)
        faults.record("training goes on with other processes and workers", *outcome)
