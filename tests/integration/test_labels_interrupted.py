"""Killed dumpers, two at work on one store, and a full disk: the store is that of one undisturbed run, or is refused."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from mert_fairseq.cli.main import main
from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.shard import read_info, shard_path, write_shard
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.teachers.labelling import Labeller, write_labels
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings

#: Forks dumpers from one interpreter that has everything imported. Arguments: manifests, teacher, folder of label folders, rounds.
DUMPERS = """
import json, os, random, signal, sys, time
from mert_fairseq.cli.main import main

manifests, teacher, folder, rounds = *sys.argv[1:4], int(sys.argv[4])


def dump(name):
    process = os.fork()
    if process == 0:
        places = [manifests, f"{folder}/{name}", "--weights", teacher]
        os._exit(main(["labels", "encodec", *places, "--splits", "train", "--nshard", "4", "--threads", "1"]))
    return process


def code(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


codes = [code(dump("clean"))]
started = time.monotonic()
codes += [code(dump("timed"))]  # the first took longer: everything was new to it
seconds = time.monotonic() - started  # two at once take no less
chance = random.Random(0)
killed = []
for number in range(rounds):
    steady, victim = dump(number), dump(number)
    time.sleep(chance.uniform(0, seconds))
    os.kill(victim, signal.SIGKILL)
    killed.append(code(victim) == -signal.SIGKILL)
    codes += [code(steady), code(dump(number))]
print(json.dumps([codes, killed]))
"""


@pytest.fixture(autouse=True)
def root_logger():
    """The command sets up logging for its process; here it is given back."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def recordings(corpus):
    """Sixteen recordings of noise, 1 to 2.5 s."""
    rng, rows = np.random.default_rng(0), []
    corpus.audio.mkdir()
    for row in range(16):
        length = 24_000 + 2400 * row
        soundfile.write(corpus.audio / f"{row}.wav", 0.1 * rng.standard_normal(length), SAMPLE_RATE)
        rows.append((f"{row}.wav", length))
    write_manifest(corpus.manifests / "train.tsv", corpus.audio, rows)
    return read_manifest(corpus.manifests / "train.tsv")


@pytest.fixture
def teacher(tmp_path):
    """A tiny fitted teacher: K = 2, V = 8."""
    torch.manual_seed(0)
    RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=2, codebook_size=8)).save(tmp_path / "teacher")
    return tmp_path / "teacher"


def test_two_dumpers_of_one_store_one_killed_ten_times_over(corpus, recordings, teacher, tmp_path):
    """Each time on a new store: the survivor ends well, and after one more run nothing tells the store from a clean one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DUMPERS, str(corpus.manifests), str(teacher), str(tmp_path / "dumps"), "10"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    codes, killed = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0] * 22, done.stderr[-2000:]
    assert sum(killed) >= 5
    clean = contents(tmp_path / "dumps" / "clean" / "train.encodec")
    assert len(clean) == 8
    for number in range(10):
        assert contents(tmp_path / "dumps" / str(number) / "train.encodec") == clean, number


# A writer killed at every step it takes on the disk.


LENGTHS = (3200, 6400, 960)
STEPS = ("fsync", "replace", "unlink")  # of module os, which paths use as well


def start(act):
    """Runs `act()` in a forked process; returns its number. Nothing of the test goes on there."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return process


def exit_code(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_at(step, path, info, arrays, between=lambda: None):
    """Writes a shard in a process that is killed just before its step number `step`; False if it took fewer steps."""

    def rows():
        yield from arrays
        between()

    def write():
        victim, taken = os.getpid(), iter(range(step))

        def limited(act):
            def taking(*args, **kwargs):
                if os.getpid() == victim and next(taken, None) is None:
                    os.kill(victim, signal.SIGKILL)
                return act(*args, **kwargs)

            return taking

        for name in STEPS:
            setattr(os, name, limited(getattr(os, name)))
        write_shard(path, info, rows())

    code = exit_code(start(write))
    assert code in (0, -signal.SIGKILL)
    return code != 0


def write_in_another_process(path, info, arrays):
    assert exit_code(start(lambda: write_shard(path, info, arrays))) == 0


@pytest.fixture
def shard(corpus):
    """Path, description and arrays of the only shard of a made-up store."""
    manifest = corpus.manifest(LENGTHS, audio=True)
    arrays = [corpus.codes(row, int(length)) for row, length in enumerate(manifest.num_samples)]
    return shard_path(corpus.labels / "train.codes", 0, 1), corpus.info(manifest), arrays, manifest


def is_complete(path, manifest):
    return path.with_suffix(".json").is_file() and TargetStore(path.parent, manifest, "codes", 75.0).num_frames.tolist() == [10, 20, 3]


def test_a_writer_killed_at_any_step_leaves_all_or_nothing(shard):
    path, info, arrays, manifest = shard
    step = 0
    while killed_at(step, path, info, arrays):
        assert is_complete(path, manifest) or not path.with_suffix(".json").exists()
        for left in path.parent.iterdir():
            left.unlink()
        step += 1
    assert step >= 4 and is_complete(path, manifest)


def test_a_writer_killed_over_another_shard_leaves_no_false_description(shard):
    """The shard that was there has other codes of the same shape, so that only its hash could tell."""
    path, info, arrays, _ = shard
    step, others = 0, [array // 2 for array in arrays]
    write_in_another_process(path, info, others)
    while killed_at(step, path, info, arrays):
        if path.with_suffix(".json").exists():
            held = np.ascontiguousarray(np.load(path))
            assert hashlib.sha256(held.data).hexdigest() == read_info(path).data_sha256, f"killed before step {step}"
        write_in_another_process(path, info, others)
        step += 1
    assert step >= 5


def test_a_shard_completed_by_another_is_not_lost_when_its_second_writer_is_killed(shard):
    """The other one has ended and will not come back to it."""
    path, info, arrays, manifest = shard
    step = 0
    while killed_at(step, path, info, arrays, lambda: write_in_another_process(path, info, arrays)):
        assert is_complete(path, manifest), f"killed before step {step}"
        for left in path.parent.iterdir():
            left.unlink()
        step += 1
    assert step >= 2 and is_complete(path, manifest)


def label(corpus, shard):
    """Makes the shard, or finds it complete, as the command does."""
    path, _, _, manifest = shard

    def codes(waves):
        for wave in waves:
            yield corpus.codes(round(float(wave[0]) * 16), len(wave))

    labeller = Labeller("codes", "maker", 2, codes, [1000, 16])
    write_labels(manifest, path.parent, labeller, 1, [0])


def test_what_killed_writers_left_is_cleaned_up_by_the_next_run(corpus, shard):
    """Also beside a shard that is complete."""
    path, info, arrays, manifest = shard
    for _ in range(2):
        assert killed_at(0, path, info, arrays)
        assert [left.suffix for left in path.parent.iterdir() if left.name.startswith(".")] == [".part"]
        label(corpus, shard)
        assert sorted(contents(path.parent)) == [path.with_suffix(".json").name, path.name]
    assert is_complete(path, manifest)


def test_what_a_living_writer_is_at_is_left_alone(corpus, shard):
    path, info, arrays, manifest = shard

    def rows():
        yield from arrays
        (path.parent / "begun").touch()
        deadline = time.monotonic() + 30
        while not (path.parent / "go on").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    process = start(lambda: write_shard(path, info, rows()))
    while not (path.parent / "begun").exists():
        time.sleep(0.01)
    label(corpus, shard)
    assert len(list(path.parent.glob(".*.part"))) == 1
    (path.parent / "go on").touch()
    assert exit_code(process) == 0
    assert is_complete(path, manifest) and not list(path.parent.glob(".*.part"))


# A full disk.


@pytest.fixture
def small_disk(tmp_path):
    """A folder that holds 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a file system of its own cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def leave_room(folder, num_bytes):
    """Fills the disk up to the given number of bytes; returns the file that does."""
    disk = os.statvfs(folder)
    (folder / "other").write_bytes(bytes(disk.f_bavail * disk.f_frsize - num_bytes))
    return folder / "other"


def test_a_disk_that_fills_up_in_a_shard(corpus, recordings, small_disk, capsys):
    command = ["labels", "cqt", str(corpus.manifests), str(corpus.labels), "--splits", "train", "--nshard", "4"]
    assert main(command) == 0
    clean = contents(corpus.labels / "train.cqt")
    sizes = [len(clean[name]) for name in sorted(clean) if name.endswith(".npy")]
    other = leave_room(small_disk, sizes[0] + sizes[1] + sizes[2] // 2 + 20_000)
    capsys.readouterr()

    command[3] = str(small_disk / "labels")
    assert main(command) == 1
    told = capsys.readouterr()
    folder = small_disk / "labels" / "train.cqt"
    mend = "make room or pick another folder and run again"
    assert told.out == ""
    assert told.err == f"mert: {shard_path(folder, 2, 4)}: cannot be written (No space left on device); {mend}\n"
    assert sorted(contents(folder)) == sorted(clean)[:4]
    other.unlink()
    assert main(command) == 0
    assert "2 shards written, 2 were there" in capsys.readouterr().out
    arrays = contents(folder)
    assert sorted(arrays) == sorted(clean) and all(arrays[name] == clean[name] for name in clean if name.endswith(".npy"))
    TargetStore(folder, recordings, "cqt", 75.0)
