"""Loader processes end with their epoch or validation: fairseq's read-ahead thread would keep them, two more each time."""

import subprocess
import time
from pathlib import Path

import training_runs as runs


def children(pid: int) -> int:
    """Processes whose parent is `pid`."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found += int(stat.read_text().rpartition(")")[2].split()[1]) == pid
        except OSError:  # it ended in between
            continue
    return found


def test_no_more_loader_processes_after_many_epochs_and_validations(tmp_path):
    corpus = runs.build_corpus(tmp_path / "corpus", num_train=2)  # 12 crops, 2 a batch: 6 updates per epoch
    overrides = ["optimization.max_update=40", "dataset.validate_interval_updates=4", "task.max_valid_crops=4", "dataset.num_workers=1"]
    process = subprocess.Popen(
        runs.command(corpus, tmp_path / "run", *overrides), env=runs.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    most = 0
    while process.poll() is None:
        most = max(most, children(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0
    assert 1 <= most <= 6  # 7 epochs and 10 validations with one loader each; one of each at a time, and some that are ending
