"""SIGKILL of training, at random moments and while a checkpoint is written: numbers and weights are the undisturbed run's."""

import random
import signal
import time

import pytest
import small_training

#: Python that kills the process in its `number`-th write of a checkpoint, after `share` of the file.
KILL_IN_WRITE = """
import io, itertools, os, signal, torch
save, writes = torch.save, itertools.count()
def cut(obj, file):
    if next(writes) != {number}:
        return save(obj, file)
    whole = io.BytesIO()
    save(obj, whole)
    file.write(whole.getvalue()[: int({share} * len(whole.getvalue()))])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = cut
"""
#: The same at its `number`-th step on the disk that gives a file its name, or copies it.
KILL_AT_STEP = """
import itertools, os, shutil, signal
steps = itertools.count()
def before(act):
    def stepping(*given, **named):
        if "checkpoint" in str(given[0]) and next(steps) == {number}:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*given, **named)
    return stepping
os.replace, os.rename, os.remove, shutil.copyfile = map(before, (os.replace, os.rename, os.remove, shutil.copyfile))
"""


@pytest.fixture(scope="module")
def undisturbed(interpreter, training_corpus, tmp_path_factory):
    """(its result, seconds it took from the command to its end)"""
    run_dir, begun = tmp_path_factory.mktemp("undisturbed") / "run", time.monotonic()
    started = interpreter.run(*small_training.train(training_corpus, run_dir))
    assert started.code() == 0, started.text[-3000:]
    return small_training.result(run_dir), time.monotonic() - begun


def finish(faults, interpreter, command, run_dir, wanted, name, kills):
    """Gives the command once more, to its end, and counts what became of the kills before."""
    last = interpreter.run(*command)
    found = small_training.result(run_dir) if last.code() == 0 else None
    left = [path.name for path in (run_dir / "checkpoints").glob("*.part")]
    for _ in range(kills):
        faults.record(f"SIGKILL: {name}", "survived" if found == wanted and not left else "lost", f"{left}\n{last.text[-3000:]}")


def test_at_random_moments(faults, interpreter, training_corpus, undisturbed, tmp_path):
    """Several times in one run."""
    (wanted, seconds), chance, killed = undisturbed, random.Random(1), 0
    while killed < faults.times(3, 20):
        run_dir, kills = tmp_path / f"run{killed}", 0
        workers = f"dataset.num_workers={chance.randrange(2)}"
        command = small_training.train(training_corpus, run_dir, workers)
        while kills < 5 and killed + kills < faults.times(3, 20):
            started = interpreter.start(*command)
            time.sleep(chance.uniform(0.2, 0.9) * seconds)
            started.kill()
            if started.code() != -signal.SIGKILL:
                break
            kills += 1
        finish(faults, interpreter, command, run_dir, wanted, "training", kills)
        killed += kills


def test_while_a_checkpoint_is_written(faults, interpreter, training_corpus, undisturbed, tmp_path):
    """Half-written, or at any step between; up to six times in one run."""
    chance, killed = random.Random(2), 0
    while killed < faults.times(4, 24):
        run_dir, kills = tmp_path / f"run{killed}", 0
        command = small_training.train(training_corpus, run_dir)
        while kills < 6 and killed + kills < faults.times(4, 24):
            in_write = KILL_IN_WRITE.format(number=chance.randrange(2), share=chance.random())
            before = in_write if kills % 2 else KILL_AT_STEP.format(number=chance.randrange(6))
            if interpreter.run(*command, before=before).code() != -signal.SIGKILL:
                break  # there was less left to do
            kills += 1
        finish(faults, interpreter, command, run_dir, undisturbed[0], "checkpoint writing", kills)
        killed += kills
