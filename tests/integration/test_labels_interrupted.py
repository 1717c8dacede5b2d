"""Two dumpers at work on one store, one of them killed, and a full disk: the store is that of one undisturbed run, or is refused."""

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from mert_fairseq.cli.main import main
from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.shard import shard_path
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import SAMPLE_RATE
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
