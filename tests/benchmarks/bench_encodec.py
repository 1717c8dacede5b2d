"""RVQ-VAE codes of 200 files of 5 to 40 s: `mert labels` against one file after another, and a 20-minute file.

The other side is EnCodec's own encoder (package `encodec`) with the same weights, and the same quantiser.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from encodec.modules import SEANetEncoder
from harness import peak_mb, record, seconds

from mert_fairseq.data.audio import read_audio
from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.teachers.labeller import encodec_labeller
from mert_fairseq.teachers.labelling import write_labels
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings, load_teacher

BAR, NUM_FILES = 1.5, 200
MOST_MB = 3000.0  # of the process with a 20-minute file


def make_files(folder: Path, lengths_s: np.ndarray) -> Path:
    """Noise through a random envelope, with its manifest."""
    random, rows = np.random.default_rng(0), []
    for number, length in enumerate(lengths_s):
        wave = random.standard_normal(int(length * 24_000), np.float32) * 0.1
        wave *= np.repeat(random.random(len(wave) // 2400 + 1, np.float32), 2400)[: len(wave)]
        soundfile.write(folder / f"{number:03d}.flac", wave, 24_000)
        rows.append((f"{number:03d}.flac", len(wave)))
    write_manifest(folder / "train.tsv", folder, rows)
    return folder / "train.tsv"


def make_teacher(folder: Path, n_filters: int) -> Path:
    torch.manual_seed(0)
    teacher = RVQVAE(RVQVAESettings(n_filters=n_filters))
    teacher.codebooks.normal_(std=0.1)
    teacher.save(folder)
    return folder


def encodecs_own(teacher: RVQVAE) -> SEANetEncoder:
    settings = teacher.settings
    encoder = SEANetEncoder(causal=True, norm="weight_norm", n_filters=settings.n_filters, dimension=settings.dimension, lstm=settings.lstm)
    encoder.load_state_dict(teacher.encoder.state_dict())
    return encoder.eval()


def files(folder: Path, n_filters: int) -> None:
    """Two halves of the files, each timed by both, so that the machine's moods fall on both sides."""
    manifest = read_manifest(make_files(folder, np.random.default_rng(1).uniform(5, 40, NUM_FILES)))
    labeller, teacher = encodec_labeller(str(make_teacher(folder / "teacher", n_filters))), load_teacher(folder / "teacher")
    encoder, codes = encodecs_own(teacher), {}

    def one_after_another(rows: range) -> None:
        for row in rows:
            wave = torch.from_numpy(read_audio(manifest.path(row)))[None, None]
            with torch.no_grad():
                codes[row] = teacher.quantise(encoder(wave * teacher.settings.input_gain))[0].T.numpy()

    ours_s = reference_s = 0.0
    half = len(manifest) // 2
    for shard, rows in enumerate((range(half), range(half, len(manifest)))):
        reference_s += seconds(lambda rows=rows: one_after_another(rows))
        ours_s += seconds(lambda shard=shard: write_labels(manifest, folder / "train.encodec", labeller, 2, [shard]))
    store = TargetStore(folder / "train.encodec", manifest, "codes", 75.0)
    differing = [(store.read(row, 0, len(whole)) != whole).mean() for row, whole in codes.items()]
    record(f"EnCodec codes of {NUM_FILES} files, {n_filters} filters", ours_s, reference_s, BAR, "s")
    record("share of its codes that differ", float(np.mean(differing)), most=0.005)


def long_file(folder: Path) -> None:
    """Peak of the whole process, EnCodec's published width."""
    manifest = read_manifest(make_files(folder, np.array([1200.0])))
    labeller = encodec_labeller(str(make_teacher(folder / "teacher", 32)))
    write_labels(manifest, folder / "train.encodec", labeller, 1, [0])
    record("EnCodec codes of 20 min, 32 filters: peak MB", peak_mb(), most=MOST_MB)


if __name__ == "__main__":
    measure = long_file if "--long" in sys.argv else lambda folder: files(folder, 8)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder))
    if measure is not long_file:  # in a process of its own, whose peak is its own
        os.execv(sys.executable, [sys.executable, __file__, "--long"])
