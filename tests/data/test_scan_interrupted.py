"""`mert manifest` killed, or started twice: what it leaves."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mert_fairseq.data.scan import scan
from mert_fairseq.errors import MertError

SETTINGS = {"valid_percent": 40, "min_seconds": 0.5}


@pytest.fixture
def music(tmp_path):
    (tmp_path / "music").mkdir()
    for number in range(8):
        soundfile.write(tmp_path / "music" / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(24_000), 24_000)
    return tmp_path / "music"


def ended(process):
    """A process that nobody has buried yet has ended as well."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def fork(act):
    process = os.fork()
    if process == 0:
        try:
            act()
        finally:
            os._exit(0)
    return process


def test_a_second_scan_into_the_same_folder_refuses(music, tmp_path):
    read, write = os.pipe()

    def hold(*given):
        os.write(write, b".")
        time.sleep(60)

    def first():
        import mert_fairseq.data.scan as module

        module.check_all = hold
        scan(music, tmp_path / "out", **SETTINGS, workers=1)

    process = fork(first)
    try:
        os.read(read, 1)
        with pytest.raises(MertError, match=f"out: in use by process {process} .*; let that scan end, or give another OUT_DIR"):
            scan(music, tmp_path / "out", **SETTINGS, workers=1)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    scan(music, tmp_path / "out", **SETTINGS, workers=1)


PROGRAM = """
import os, sys, time
from mert_fairseq.data import check_pool, scan

def wait(name, settings):
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece: two workers write
    time.sleep(0.1)

check_pool.check_file = wait
scan.check_all([str(number) for number in range(100_000)], scan.CheckSettings(sys.argv[1], 1), 2)
"""


def test_a_killed_scan_leaves_no_workers_behind(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    workers = set()
    while len(workers) < 2:
        workers.add(int(process.stdout.readline()))
    process.kill()
    process.wait()
    deadline = time.monotonic() + 15
    try:
        while not all(map(ended, workers)):
            assert time.monotonic() < deadline, "they live on"
            time.sleep(0.05)
    finally:
        for worker in workers:
            if not ended(worker):
                os.kill(worker, signal.SIGKILL)


def test_what_killed_scans_left_goes(music, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    parts = [tmp_path / "copies" / "album" / ".01.wav.flac.{}.part", tmp_path / "out" / ".train.tsv.{}.part"]
    left = [Path(str(part).format(f"{socket.gethostname()}.{dead.pid}")) for part in parts]
    others = [Path(str(part).format(f"{socket.gethostname()}.{os.getpid()}")) for part in parts]
    for part in (*left, *others):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    scan(music, tmp_path / "out", **SETTINGS, workers=1, convert=tmp_path / "copies")
    assert not any(part.exists() for part in left) and others[0].exists()
