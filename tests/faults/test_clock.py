"""Clocks that jump, and files from the future and the past: nothing but timings follows from them."""

import os
import random

import pytest
import small_training
from commands import NAMES, make, outputs

BACKWARDS = "import time\nnow, begun = time.time, time.time()\ntime.time = lambda: 2 * begun - now()"
JUMPING = "import random, time\nnow, chance = time.time, random.Random(3)\ntime.time = lambda: now() + chance.uniform(-1e7, 1e7)"
STOPPED = "import time\nbegun = time.time()\ntime.time = lambda: begun"
CLOCKS = {"backwards": BACKWARDS, "jumping": JUMPING, "stopped": STOPPED}
TIMES_S = {"1970": 0, "2100": 4_102_444_800}


def verdict(started, same):
    return "traceback" if "Traceback" in started.text else "survived" if started.code() == 0 and same() else "lost"


@pytest.mark.parametrize("name", NAMES)
def test_under_a_command(faults, interpreter, data, tmp_path, name):
    command = make(name, data)
    assert interpreter.run(*command.argv(tmp_path / "clean")).code() == 0
    clean = outputs(tmp_path / "clean")
    for clock in list(CLOCKS)[: faults.times(2, 3)]:
        started = interpreter.run(*command.argv(tmp_path / clock), before=CLOCKS[clock])
        outcome = verdict(started, lambda: outputs(tmp_path / clock) == clean)
        faults.record(f"clock {clock}: commands", outcome, started.text[-3000:])


def test_under_training(faults, interpreter, training_corpus, tmp_path):
    """Through a kill and a resume."""
    assert interpreter.run(*small_training.train(training_corpus, tmp_path / "undisturbed")).code() == 0
    undisturbed = small_training.result(tmp_path / "undisturbed")
    for clock in list(CLOCKS)[: faults.times(1, 3)]:
        run_dir = tmp_path / clock
        command = small_training.train(training_corpus, run_dir)
        first = interpreter.start(*command, before=CLOCKS[clock] + small_training.held_after(12))
        first.until(lambda: small_training.reached(run_dir, 12), "update")
        first.kill()
        started = interpreter.run(*command, before=CLOCKS[clock])
        outcome = verdict(started, lambda: small_training.result(run_dir) == undisturbed)
        faults.record(f"clock {clock}: training", outcome, first.text[-1500:] + started.text[-3000:])


@pytest.mark.parametrize("name", [name for name in NAMES[:-1] if name != "mert export"])  # which refuses a folder that holds one
def test_what_is_complete_stays_so_whatever_its_files_times(faults, interpreter, data, tmp_path, name):
    """Copied without times, restored from a tape, written by a machine whose clock is ahead."""
    command, out, chance = make(name, data), tmp_path / "out", random.Random(4)
    assert interpreter.run(*command.argv(out)).code() == 0
    made = outputs(out)
    for year in list(TIMES_S)[: faults.times(2, 2)]:
        for path in sorted(out.rglob("*")):
            os.utime(path, (TIMES_S[year], TIMES_S[year] + chance.randrange(100)))
        started = interpreter.run(*command.argv(out))
        faults.record(f"file times of {year}", verdict(started, lambda: outputs(out) == made), started.text[-3000:])


def test_training_goes_on_from_the_newest_checkpoint_whatever_its_time(faults, interpreter, training_corpus, tmp_path):
    assert interpreter.run(*small_training.train(training_corpus, tmp_path / "undisturbed")).code() == 0
    undisturbed = small_training.result(tmp_path / "undisturbed")
    for year in TIMES_S:
        run_dir = tmp_path / year
        command = small_training.train(training_corpus, run_dir)
        first = interpreter.start(*command, before=small_training.held_after(12))
        first.until(lambda: small_training.reached(run_dir, 12), "update")
        first.kill()
        for number, path in enumerate(sorted((run_dir / "checkpoints").glob("*.pt"))):
            os.utime(path, (TIMES_S[year] + number, TIMES_S[year] - number + 100))
        (run_dir / "checkpoints" / "checkpoint_last.pt").unlink()
        started = interpreter.run(*command)
        same = "@ 10 updates" in started.text and small_training.result(run_dir) == undisturbed
        faults.record(f"file times of {year}", verdict(started, lambda: same), started.text[-3000:])
