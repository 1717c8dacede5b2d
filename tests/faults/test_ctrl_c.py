"""Ctrl-C in training, as a terminal sends it: to all processes of the command at once."""

import os
import signal
from pathlib import Path

import pytest
import training_runs as runs
from forked import group_of

from mert_fairseq.launch.interruption import ENDED_BY_CTRL_C
from mert_fairseq.report.run_log import LOG_NAME

SETTINGS = (
    "optimization.max_update=14",
    "checkpoint.save_interval_updates=50",
    "dataset.validate_interval_updates=7",
    "dataset.num_workers=2",
    "model.dropout=0.1",
)
TWO = ("distributed_training.distributed_world_size=2", "optimization.update_freq=[1]")
ONE = ("optimization.update_freq=[2]",)
SLOW = "import time\nfrom mert_fairseq.criterions.mert import MERTCriterion as C\nf = C.forward\n"
SLOW += "C.forward = lambda *a, **k: (time.sleep(0.1), f(*a, **k))[1]\n"  # a Ctrl-C then comes in mid-update
STUCK = SLOW.replace("0.1", "0.1 if c.__next__() < 9 else 3600") + "import itertools\nc = itertools.count()\n"
AFTER_HAND_ON = "after this update, then training stops; Ctrl-C again ends it at once"


def train(corpus, run_dir, *overrides):
    return ["fairseq-hydra-train", *runs.command(corpus, run_dir, *SETTINGS, *overrides)[1:]]


@pytest.fixture(scope="module")
def undisturbed(interpreter, training_corpus, tmp_path_factory, processes):
    """Of as many processes: two add up in another order than one, and the last digit that is logged may be another."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    started = interpreter.run(*train(training_corpus, run_dir, *processes))
    assert started.code() == 0, started.text[-3000:]
    return numbers(run_dir)


def numbers(run_dir):
    """What was logged but for the sums over processes of a validation."""
    logged = runs.logged_numbers(run_dir)
    return {
        split: {update: {key: value for key, value in record.items() if key not in ("bsz", "wpb")} for update, record in records.items()}
        for split, records in logged.items()
    }


def reached(run_dir, update):
    log = run_dir / LOG_NAME
    return log.is_file() and f'"num_updates": "{update}"' in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("processes", [ONE, TWO], ids=["one process", "two processes"], scope="module")
def test_the_first_saves_and_the_same_command_goes_on(faults, interpreter, training_corpus, undisturbed, tmp_path, processes):
    for number in range(faults.times(1, 5) if processes is ONE else faults.times(1, 2)):
        run_dir = tmp_path / str(number)
        started = interpreter.start(*train(training_corpus, run_dir, *processes), before=SLOW)
        started.until(lambda: reached(run_dir, 3 + number), "update")
        started.kill(signal.SIGINT, group=True)
        assert started.code() == ENDED_BY_CTRL_C, started.text[-3000:]
        assert AFTER_HAND_ON in started.text and "interrupted; the checkpoint is saved, the same command goes on" in started.text
        stopped = max(numbers(run_dir)["train"])
        again = interpreter.run(*train(training_corpus, run_dir, *processes))
        assert again.code() == 0, again.text[-3000:]
        assert f"@ {stopped} updates" in again.text, "updates were lost"
        outcome = "traceback" if "Traceback" in started.text else "survived" if numbers(run_dir) == undisturbed else "lost"
        faults.record(f"Ctrl-C: training, {'one process' if processes is ONE else 'two processes'}", outcome, started.text[-3000:])


def stop_a_rank(started):
    """The others wait for it for ever."""
    (rank, *_) = [number for number in group_of(started.process) if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes()]
    os.kill(rank, signal.SIGSTOP)


@pytest.mark.parametrize("processes", [ONE, TWO], ids=["one process", "two processes"])
def test_the_second_ends_an_update_that_does_not_end(faults, interpreter, training_corpus, tmp_path, processes):
    run_dir = tmp_path / "run"
    started = interpreter.start(*train(training_corpus, run_dir, *processes), before=STUCK)
    started.until(lambda: reached(run_dir, 3), "update")
    if processes is TWO:
        stop_a_rank(started)
    started.kill(signal.SIGINT, group=True)
    started.until(lambda: AFTER_HAND_ON in started.text, "word of the first")
    started.kill(signal.SIGINT, group=True)
    assert started.code() == ENDED_BY_CTRL_C, started.text[-3000:]
    told = started.text.rstrip().endswith("interrupted; the same command goes on from the last checkpoint, where there is one")
    outcome = "traceback" if "Traceback" in started.text else "refused" if told else "silent"
    faults.record("Ctrl-C twice: training", outcome, started.text[-3000:])
    started.until_all_ended()


def test_one_before_anything_is_trained_ends_it(faults, interpreter, training_corpus, tmp_path):
    run_dir = tmp_path / "run"
    started = interpreter.start(*train(training_corpus, run_dir, *ONE))
    started.until(lambda: "training on" in started.text, "start")
    started.kill(signal.SIGINT, group=True)
    assert started.code() == ENDED_BY_CTRL_C, started.text[-3000:]
    told = "interrupted; the same command goes on from the last checkpoint" in started.text
    outcome = "traceback" if "Traceback" in started.text else "refused" if told else "silent"
    faults.record("Ctrl-C: training, before the first update", outcome, started.text[-3000:])
