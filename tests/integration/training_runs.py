"""A small corpus with targets, and the real training command on it, in a fresh interpreter."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import numpy as np
import soundfile

from mert_fairseq.checkpoints import read_checkpoint
from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.target_store import store_folder
from mert_fairseq.frames import HOP, SAMPLE_RATE, num_code_frames
from mert_fairseq.report.run_log import LOG_NAME, read_run_log
from mert_fairseq.teachers.labeller import Labeller, cqt_labeller
from mert_fairseq.teachers.labelling import write_labels

NUM_CODEBOOKS, CODEBOOK_SIZE = 3, 32
#: What the clock and the machine decide.
TIMINGS = {"wps", "ups", "wall", "train_wall", "audio_s_per_s", "mfu", "data_wait", "device_hours", "peak_mem_gb"}
SMALL_MODEL = [
    "model.encoder_embed_dim=32",
    "model.encoder_ffn_embed_dim=64",
    "model.final_dim=8",
    "model.conv_feature_layers=[[16,10,5],[16,3,2],[16,3,2],[16,3,2],[16,3,2],[16,2,2],[16,2,2]]",
    "model.autocast=none",
    "dataset.max_tokens=72000",
    "dataset.max_tokens_valid=72000",
    "common.log_interval=1",
]


def tune(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Notes of a quarter of a second with four harmonics each."""
    time_s = np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    notes = []
    for _ in range(int(seconds / 0.25)):
        pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
        notes.append(sum(np.sin(2 * np.pi * pitch * k * time_s) / k for k in range(1, 5)) * np.exp(-4 * time_s))
    return (0.2 * np.concatenate(notes)).astype(np.float32)


def energy_codes(wave: np.ndarray) -> np.ndarray:
    """Codes [T, K] that a model can learn: the level of the frame, of the one before and of the one after, in dB steps."""
    padded = np.pad(wave, (0, num_code_frames(len(wave)) * HOP - len(wave))).reshape(-1, HOP)
    level = np.clip((20 * np.log10(padded.std(axis=1) + 1e-5) + 60) / 2, 0, CODEBOOK_SIZE - 1).astype(np.int64)
    return np.stack([level, np.roll(level, 1), np.roll(level, -1)], axis=1)


def build_corpus(folder: Path, num_train: int = 6, num_valid: int = 2, seconds: float = 9.0) -> Path:
    """Audio, manifests (manifest/) and stores (labels/) under `folder`."""
    labellers = {
        "encodec": Labeller(
            "codes", "energy", NUM_CODEBOOKS, lambda waves: map(energy_codes, waves), [CODEBOOK_SIZE] * NUM_CODEBOOKS
        ),
        "cqt": cqt_labeller(),
    }
    (folder / "audio").mkdir(parents=True)
    (folder / "manifest").mkdir()
    for split, count in (("train", num_train), ("valid", num_valid)):
        rows = []
        for number in range(count):
            wave = tune(np.random.default_rng([number, split == "train"]), seconds)
            soundfile.write(folder / "audio" / f"{split}{number}.flac", wave, SAMPLE_RATE)
            rows.append((f"{split}{number}.flac", len(wave)))
        write_manifest(folder / "manifest" / f"{split}.tsv", folder / "audio", rows)
        manifest = read_manifest(folder / "manifest" / f"{split}.tsv")
        for name, labeller in labellers.items():
            write_labels(manifest, store_folder(folder / "labels", split, name), labeller, 1, [0])
    return folder


def command(corpus: Path, run_dir: Path, *overrides: str) -> List[str]:
    """The command line a user gives, with a small model."""
    return shipped_command(corpus, run_dir, *SMALL_MODEL, *overrides)


def shipped_command(corpus: Path, run_dir: Path, *overrides: str) -> List[str]:
    """The command line a user gives, with mert_tiny as it is."""
    program = str(Path(sys.executable).with_name("fairseq-hydra-train"))
    places = [f"task.data={corpus}/manifest", f"task.label_dir={corpus}/labels", f"hydra.run.dir={run_dir}"]
    return [program, "--config-name", "mert_tiny", *places, *overrides]


def environment(**changes: str) -> Dict[str, str]:
    """One thread, so that sums are added in one order whatever else runs."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **changes}


def in_configuration(name: str, argv: List[str]) -> List[str]:
    """The command line with another shipped configuration in mert_tiny's place; keys that it leaves to the data classes are added."""
    return [{"mert_tiny": name}.get(word, f"++{word}" if word.startswith("model.") else word) for word in argv]


def train(corpus: Path, run_dir: Path, *overrides: str, **options) -> subprocess.CompletedProcess:
    """Runs the command to its end."""
    return subprocess.run(
        command(corpus, run_dir, *overrides), capture_output=True, text=True, env=environment(), timeout=300, **options
    )


def train_and_kill(corpus: Path, run_dir: Path, update: int, *overrides: str) -> None:
    """Starts the command and kills it (SIGKILL) once `update` stands in the log."""
    with open(os.devnull, "w") as nowhere:
        process = subprocess.Popen(command(corpus, run_dir, *overrides), env=environment(), stdout=nowhere, stderr=nowhere)
    log, mark = run_dir / LOG_NAME, f'"num_updates": "{update}"'
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and mark in log.read_text(encoding="utf-8"):
            break
        time.sleep(0.02)
    alive = process.poll() is None
    process.kill()
    process.wait()
    assert alive, f"the run ended before update {update}, code {process.returncode}"


def begin_at(run_dir: Path, other: Path, update: int) -> None:
    """Makes `run_dir` a run that was stopped behind an update of another, which kept the checkpoints of all its updates and epochs."""
    checkpoints = [*(other / "checkpoints").glob(f"checkpoint_*_{update}.pt"), *(other / "checkpoints").glob("checkpoint[0-9]*.pt")]
    (found,) = [path for path in checkpoints if _updates_in(path) == update]
    (run_dir / "checkpoints").mkdir(parents=True)
    shutil.copyfile(found, run_dir / "checkpoints" / "checkpoint_last.pt")


def _updates_in(checkpoint: Path) -> int:
    return read_checkpoint(str(checkpoint))["optimizer_history"][-1]["num_updates"]


def logged_numbers(run_dir: Path) -> Dict[str, Dict[int, Dict[str, float]]]:
    """Everything logged but timings, by update."""
    log = read_run_log(run_dir)
    return {
        split: {update: {key: value for key, value in record.items() if key not in TIMINGS} for update, record in records.items()}
        for split, records in (("train", log.train), ("valid", log.valid))
    }
