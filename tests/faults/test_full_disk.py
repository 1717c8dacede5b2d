"""A disk that fills up under every command: one clear line, nothing half-written taken for whole, and on with the same command."""

import subprocess

import pytest
import small_training
from commands import NAMES, make, outputs

SHARES = (0.5, 0.9, 0.1, 0.3, 0.7)  # of what the command writes, that the disk has room for


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of a given size at a folder; called again, gives it another size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def size(num_bytes):
        mounted = subprocess.run(["mountpoint", "-q", str(folder)]).returncode == 0
        options = f"{'remount,' * mounted}size={num_bytes // 1024 + 4}k"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a file system of its own cannot be mounted: {done.stderr.strip()}")
        return folder

    yield size
    subprocess.run(["umount", str(folder)], capture_output=True)


def size_of(folder):
    """Bytes that a folder takes in a file system of pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 if path.is_file() else 4096 for path in folder.rglob("*"))


def outcome_of(started, whole):
    """Refused with one line, or survived; `whole()` says whether the same command then leaves what an undisturbed one does."""
    lines = [line for line in started.text.splitlines() if "cannot be written" in line or "No space left" in line or " are free; " in line]
    if "Traceback" in started.text or "Error in" in started.text:
        return "traceback"
    if started.code() not in (0, 1) or (started.code() == 1 and len(lines) != 1):
        return "silent"
    return ("refused" if started.code() else "survived") if whole() else "lost"


@pytest.mark.parametrize("name", NAMES)
def test_under_a_command(faults, interpreter, data, tmp_path, small_disk, name):
    command = make(name, data)
    assert interpreter.run(*command.argv(tmp_path / "clean")).code() == 0
    clean, room = outputs(tmp_path / "clean"), size_of(tmp_path / "clean")
    for number, share in enumerate(SHARES[: faults.times(1, 5)]):
        out = small_disk(int(share * room)) / str(number)
        started = interpreter.run(*command.argv(out))

        def whole():
            small_disk(4 * room + (16 << 20))
            again = interpreter.run(*command.argv(out))
            return again.code() == 0 and outputs(out) == clean

        faults.record(f"full disk: {name}", outcome_of(started, whole), f"code {started.code()}\n{started.text[-3000:]}")
        subprocess.run(["umount", str(out.parent)], check=True)


def test_under_training(faults, interpreter, training_corpus, tmp_path, small_disk):
    undisturbed = tmp_path / "undisturbed"
    assert interpreter.run(*small_training.train(training_corpus, undisturbed)).code() == 0
    wanted, room = small_training.result(undisturbed), size_of(undisturbed)
    for number, share in enumerate(SHARES[: faults.times(1, 5)]):
        run_dir = small_disk(int(share * room)) / str(number)
        command = small_training.train(training_corpus, run_dir)
        started = interpreter.run(*command)

        def whole():
            small_disk(4 * room)
            again = interpreter.run(*command)
            return again.code() == 0 and small_training.result(run_dir) == wanted

        faults.record("full disk: training", outcome_of(started, whole), f"code {started.code()}\n{started.text[-3000:]}")
        subprocess.run(["umount", str(run_dir.parent)], check=True)


def test_under_frames_where_others_take_the_room_meanwhile(faults, interpreter, data, tmp_path, small_disk):
    """Room that was there when it was asked for is gone when frames are written."""
    command = make("mert probe of beats", data)
    assert interpreter.run(*command.argv(tmp_path / "clean")).code() == 0
    out = small_disk(100_000) / "out"
    before = "from mert_fairseq.probe import frame_features\nframe_features.missing_bytes = lambda *given: 0"
    started = interpreter.run(*command.argv(out), before=before)
    half = list(out.rglob("*.array"))

    def whole():
        small_disk(64 << 20)
        again = interpreter.run(*command.argv(out))
        return not half and again.code() == 0 and outputs(out) == outputs(tmp_path / "clean")

    faults.record("full disk: frames of probes", outcome_of(started, whole), f"{half}, code {started.code()}\n{started.text[-3000:]}")
    subprocess.run(["umount", str(out.parent)], check=True)
