"""A dataset over ten million rows: seconds until it is ready, what it adds to the process, and what a loader process adds to that."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
from harness import record, seconds

from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.mert_dataset import CropSettings, MERTDataset
from mert_fairseq.data.shard import ShardInfo, shard_path, shard_rows
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import CONV_LAYERS

NUM_ROWS, NUM_SHARDS, NUM_SAMPLES = 10_000_000, 1000, 120_000
MOST_SECONDS, MOST_MB, MOST_WORKER_MB = 60.0, 1000.0, 100.0


def make_corpus(folder: Path) -> None:
    """A manifest of files that are not there, and sparse arrays of their codes: 60 GB that take no space."""
    write_manifest(folder / "train.tsv", folder, ((f"artist/album/{row:08d}.flac", NUM_SAMPLES) for row in range(NUM_ROWS)))
    manifest = read_manifest(folder / "train.tsv")
    (folder / "train.encodec").mkdir()
    for shard in range(NUM_SHARDS):
        rows, path = shard_rows(NUM_ROWS, shard, NUM_SHARDS), shard_path(folder / "train.encodec", shard, NUM_SHARDS)
        frames = [NUM_SAMPLES // 320] * (rows[1] - rows[0])
        info = ShardInfo("codes", "made", 8, 75.0, rows, frames, [1024] * 8, {}, None, manifest.rows_hash(*rows))
        np.lib.format.open_memmap(path, "w+", np.uint16, (sum(frames), 8))
        path.with_suffix(".json").write_text(json.dumps(vars(info)))


def memory(field: str = "Private_Dirty") -> float:
    """MB of this process that no file and no other process has, or another line of /proc's account."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def make_dataset(folder: Path) -> MERTDataset:
    manifest = read_manifest(folder / "train.tsv")
    store = TargetStore(folder / "train.encodec", manifest, "codes", 75.0)
    dataset = MERTDataset(manifest, [store], None, CropSettings(120_000, 72_000), CONV_LAYERS)
    dataset.ordered_indices()
    return dataset


def worker_mb(dataset: MERTDataset) -> float:
    """MB that a forked loader process has for itself after it looked at 10,000 items."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        for index in np.random.default_rng(0).integers(0, len(dataset), 10_000):
            row, start, _ = dataset.place_of(int(index))
            dataset.code_stores[0].read(row, start // 320, start // 320 + 1)
        os.write(writer, f"{memory()}".encode())
        os._exit(0)
    os.wait()
    return float(os.read(reader, 100))


def run(folder: Path) -> None:
    """Three figures."""
    make_corpus(folder)
    before, made = memory(), {}
    ready_s = seconds(lambda: made.update(dataset=make_dataset(folder)))
    record(f"dataset of {NUM_ROWS:,} rows: seconds until ready", ready_s, most=MOST_SECONDS)
    record("MB that it adds", memory() - before, most=MOST_MB)
    record("MB of a forked loader process", worker_mb(made["dataset"]), most=MOST_WORKER_MB)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder))
