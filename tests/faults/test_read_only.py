"""An output folder that cannot be written, by a mount: root is not kept out by permissions. One line, and on once it can be."""

import subprocess

import pytest
import small_training
from commands import NAMES, make, outputs


@pytest.fixture
def read_only(tmp_path):
    """A folder that is read-only until it is called with False."""
    folder = tmp_path / "place"
    folder.mkdir()
    bound = subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True, text=True)
    if bound.returncode:
        pytest.skip(f"a folder cannot be mounted: {bound.stderr.strip()}")

    def mode(is_read_only):
        subprocess.run(["mount", "-o", f"remount,bind,{'ro' if is_read_only else 'rw'}", str(folder)], check=True)
        return folder

    yield mode
    subprocess.run(["umount", str(folder)], check=True)


def outcome_of(started, folder):
    told = [line for line in started.text.splitlines() if str(folder) in line and "ead-only file system" in line]
    return "traceback" if "Traceback" in started.text else "refused" if started.code() == 1 and len(told) == 1 else "silent"


@pytest.mark.parametrize("name", NAMES)
def test_under_a_command(faults, interpreter, data, tmp_path, read_only, name):
    command = make(name, data)
    out = read_only(True)
    for _ in range(faults.times(1, 3)):
        started = interpreter.run(*command.argv(out))
        faults.record(f"read-only folder: {name}", outcome_of(started, out), started.text[-3000:])
    read_only(False)
    assert outputs(out) == {}
    assert interpreter.run(*command.argv(out)).code() == 0
    assert interpreter.run(*command.argv(tmp_path / "clean")).code() == 0
    assert outputs(out) == outputs(tmp_path / "clean")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_complete_is_found_on_a_read_only_disk(faults, interpreter, data, read_only, name):
    """A second run has nothing to write; where it refuses all the same, it is in one line, and nothing is harmed."""
    command = make(name, data)
    out = read_only(False)
    assert interpreter.run(*command.argv(out)).code() == 0
    made = outputs(out)
    read_only(True)
    started = interpreter.run(*command.argv(out))
    outcome = "survived" if started.code() == 0 else "refused" if started.code() == 1 and "\nmert: " in f"\n{started.text}" else "silent"
    outcome = "traceback" if "Traceback" in started.text else outcome if outputs(out) == made else "lost"
    faults.record("read-only folder: complete outputs", outcome, started.text[-3000:])


def test_under_trainings_checkpoints(faults, interpreter, training_corpus, tmp_path, read_only):
    save_dir = read_only(True)
    command = small_training.train(training_corpus, tmp_path / "run", f"checkpoint.save_dir={save_dir}", "optimization.max_update=2")
    started = interpreter.run(*command)
    faults.record("read-only folder: training", outcome_of(started, save_dir), started.text[-3000:])
    read_only(False)
    assert interpreter.run(*command).code() == 0 and (save_dir / "checkpoint_last.pt").exists()
