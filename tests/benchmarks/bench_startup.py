"""From the command to the first update, and the share of time that training waits for data: mert_tiny on FLAC files, by the command."""

import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile
from bench_crops import write_store
from harness import record

from mert_fairseq.data.manifest import write_manifest

NUM_FILES, SECONDS, UPDATES = 40, 60, 250
STAMP = re.compile(r"^\[([0-9: ,-]+)\].*\"num_updates\": \"1\"", re.MULTILINE)


def make_corpus(folder: Path) -> None:
    """40 minutes of noise in FLAC, with stores of random codes and of spectra."""
    random = np.random.default_rng(0)
    for split, count in (("train", NUM_FILES), ("valid", 4)):
        (folder / "audio").mkdir(exist_ok=True)
        rows = [(f"audio/{split}{number}.flac", SECONDS * 24_000) for number in range(count)]
        for name, length in rows:
            soundfile.write(folder / name, 0.05 * random.standard_normal(length).cumsum() / 50, 24_000)
        write_manifest(folder / f"{split}.tsv", folder, rows)
        codes = (random.integers(0, 1024, (SECONDS * 75, 8), np.uint16) for _ in rows)
        write_store(folder, "encodec", "codes", 8, [1024] * 8, codes, split)
        spectra = (random.random((SECONDS * 75 + 1, 336), np.float32) for _ in rows)
        write_store(folder, "cqt", "cqt", 336, None, spectra, split)


def train(folder: Path, run_dir: Path, *settings: str) -> float:
    """Runs the command; returns when it was given, seconds since the epoch."""
    command = [str(Path(sys.executable).with_name("fairseq-hydra-train")), "--config-name", "mert_tiny", f"task.data={folder}",
               f"task.label_dir={folder}", f"hydra.run.dir={run_dir}", *settings]
    given = time.time()
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}: {result.stderr[-2000:]}")
    return given


def first_update(folder: Path, number: int) -> float:
    """Seconds from the command to the log's line of the first update."""
    run_dir = folder / f"start{number}"
    given = train(folder, run_dir, "optimization.max_update=1", "common.log_interval=1")
    stamp = STAMP.search((run_dir / "hydra_train.log").read_text()).group(1)
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp() - given


def data_wait(folder: Path) -> float:
    """Share of the steps' time, 2 workers, behind the first 25 updates."""
    train(folder, folder / "wait", f"optimization.max_update={UPDATES}", "dataset.num_workers=2", "common.log_interval=25",
          "dataset.disable_validation=true", "checkpoint.no_save=true")
    shares = re.findall(r'"data_wait": "([0-9.e-]+)"', (folder / "wait" / "hydra_train.log").read_text())
    return float(np.mean([float(share) for share in shares[1:10]]))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make_corpus(Path(folder))
        record("mert_tiny: seconds from command to first update", min(first_update(Path(folder), number) for number in range(2)), most=12.0)
        record("mert_tiny: share of waiting for data, 2 workers, FLAC", data_wait(Path(folder)), most=0.03)
