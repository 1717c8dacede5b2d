"""Random 5 s crops with 8 codebooks and CQT out of FLAC files of 30 s, against fairseq's own HuBERT dataset with text labels.

HuBERT's dataset decodes the whole file and parses each whole line of labels; it reads no CQT.
"""

import tempfile
from pathlib import Path

import numpy as np
import soundfile
from fairseq.data import Dictionary, HubertDataset
from fairseq.tasks.hubert_pretraining import LabelEncoder
from harness import in_turn, record

from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.mert_dataset import CropSettings, MERTDataset
from mert_fairseq.data.shard import ShardInfo, shard_path, write_shard
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import CONV_LAYERS

BAR, NUM_FILES, SECONDS, NUM_CODEBOOKS, NUM_CODES = 15.0, 24, 30, 8, 1024


def make_corpus(folder: Path) -> None:
    """Files, manifest, stores, and the same labels as text."""
    random, frames = np.random.default_rng(0), SECONDS * 75
    codes = random.integers(0, NUM_CODES, (NUM_FILES, frames, NUM_CODEBOOKS), np.uint16)
    for number in range(NUM_FILES):
        tones = sum(np.sin(np.arange(SECONDS * 24_000) * random.uniform(0.01, 0.5)) for _ in range(4)) * 0.1
        soundfile.write(folder / f"{number}.flac", tones + 0.01 * random.standard_normal(len(tones)), 24_000)
    write_manifest(folder / "train.tsv", folder, [(f"{number}.flac", SECONDS * 24_000) for number in range(NUM_FILES)])
    for codebook in range(NUM_CODEBOOKS):
        lines = (" ".join(map(str, row[:, codebook])) for row in codes)
        (folder / f"train.encodec_{codebook}").write_text("\n".join(lines) + "\n")
    (folder / "dict.txt").write_text("".join(f"{code} 1\n" for code in range(NUM_CODES)))
    spectra = (random.random((frames + 1, 336), np.float32) for _ in range(NUM_FILES))
    write_store(folder, "encodec", "codes", NUM_CODEBOOKS, [NUM_CODES] * NUM_CODEBOOKS, codes)
    write_store(folder, "cqt", "cqt", 336, None, spectra)


def write_store(folder: Path, name: str, kind: str, width: int, num_classes, arrays, split: str = "train") -> None:
    """A store of one shard for the rows of FOLDER/{split}.tsv."""
    manifest = read_manifest(folder / f"{split}.tsv")
    info = ShardInfo(kind, "made", width, 75.0, (0, len(manifest)), [], num_classes, {}, None, manifest.rows_hash())
    write_shard(shard_path(folder / f"{split}.{name}", 0, 1), info, arrays)


def our_dataset(folder: Path) -> MERTDataset:
    manifest = read_manifest(folder / "train.tsv")
    codes, cqt = (TargetStore(folder / f"train.{name}", manifest, kind, 75.0) for name, kind in (("encodec", "codes"), ("cqt", "cqt")))
    return MERTDataset(manifest, [codes], cqt, CropSettings(120_000, 72_000), CONV_LAYERS)


def reference_dataset(folder: Path) -> HubertDataset:
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    return HubertDataset(
        str(folder / "train.tsv"), sample_rate=24_000, label_paths=[str(folder / f"train.encodec_{k}") for k in range(NUM_CODEBOOKS)],
        label_rates=[75] * NUM_CODEBOOKS, pad_list=[dictionary.pad()] * NUM_CODEBOOKS, eos_list=[dictionary.eos()] * NUM_CODEBOOKS,
        label_processors=[LabelEncoder(dictionary)] * NUM_CODEBOOKS, max_sample_size=120_000, store_labels=False, random_crop=True,
    )


def run(folder: Path) -> None:
    """Each item once a round; HuBERT's collater crops afterwards, which is left out in its favour."""
    make_corpus(folder)
    ours, reference = our_dataset(folder), reference_dataset(folder)
    rounds = 5
    ours_s, reference_s = in_turn(
        lambda: [ours[index] for index in range(NUM_FILES)], lambda: [reference[index] for index in range(NUM_FILES)], rounds, 3
    )
    record("a 5 s crop of 30 s FLAC, 8 codebooks and CQT", ours_s / NUM_FILES, reference_s / NUM_FILES, BAR, "s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder))
