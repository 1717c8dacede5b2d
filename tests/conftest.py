"""Made-up recordings and targets whose values say where they belong, for the tests of everything that reads them."""

import signal

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, settings

from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.shard import ShardInfo, shard_path, shard_rows, write_shard
from mert_fairseq.data.target_store import store_folder
from mert_fairseq.frames import SAMPLE_RATE, num_code_frames, num_cqt_frames

#: Property tests draw the same examples every time, keep nothing, and are not timed.
settings.register_profile(
    "tests", derandomize=True, deadline=None, database=None, max_examples=60, suppress_health_check=list(HealthCheck)
)
settings.load_profile("tests")

# Where a shell started the tests in the background (nohup, `&`) it has Ctrl-C ignored, by them and by all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Corpus:
    """Recordings, manifests and target stores below one folder."""

    num_classes = (1000, 16)  # V of the two codebooks of `codes`

    def __init__(self, folder):
        self.audio, self.manifests, self.labels = folder / "audio", folder / "manifests", folder / "labels"

    @staticmethod
    def wave(row, num_samples):
        """Sample i of row r is (r * 2**20 + i) / 2**24, exact in float32: it tells row and place."""
        return ((row << 20) + np.arange(num_samples, dtype=np.int64)).astype(np.float32) / 2**24

    @staticmethod
    def codes(row, num_samples):
        """Frame t of row r is (t, r): [T, 2]."""
        frames = np.arange(num_code_frames(num_samples))
        return np.stack([frames, np.full_like(frames, row)], axis=1)

    @staticmethod
    def cqt(row, num_samples):
        """Frame t of row r is (t, r, t + r / 2), exact in float16: [T, 3]."""
        frames = np.arange(num_cqt_frames(num_samples))
        return np.stack([frames, np.full_like(frames, row), frames + row / 2], axis=1)

    def manifest(self, lengths, split="train", audio=False):
        """Rows `{split}{row}.wav` of the given lengths in samples at 24 kHz; with `audio` the files are there."""
        names = [f"{split}{row}.wav" for row in range(len(lengths))]
        if audio:
            self.audio.mkdir(exist_ok=True)
            for row, (name, length) in enumerate(zip(names, lengths)):
                soundfile.write(self.audio / name, self.wave(row, length), SAMPLE_RATE, subtype="FLOAT")
        write_manifest(self.manifests / f"{split}.tsv", self.audio, zip(names, lengths))
        return read_manifest(self.manifests / f"{split}.tsv")

    @staticmethod
    def info(manifest, shard=0, num_shards=1, kind="codes", **changes):
        """The description of a shard as a teacher named "maker" would write it."""
        rows = shard_rows(len(manifest), shard, num_shards)
        values = dict(
            kind=kind,
            teacher="maker",
            width=2 if kind == "codes" else 3,
            frame_rate=75.0,
            rows=rows,
            frames=[],
            num_classes=list(Corpus.num_classes) if kind == "codes" else None,
            settings={"tones": [1, 2], "gain": 0.5},
            weights_sha256="ab" * 32 if kind == "codes" else None,
            manifest_sha256=manifest.rows_hash(*rows),
        )
        return ShardInfo(**{**values, **changes})

    def store(self, manifest, arrays=None, split="train", name=None, kind="codes", num_shards=1, **changes):
        """Writes a whole store and returns its folder; `arrays` default to `codes` or `cqt` of each row."""
        make = self.codes if kind == "codes" else self.cqt
        if arrays is None:
            arrays = [make(row, int(length)) for row, length in enumerate(manifest.num_samples)]
        folder = store_folder(self.labels, split, name or kind)
        for shard in range(num_shards):
            info = self.info(manifest, shard, num_shards, kind, **changes)
            write_shard(shard_path(folder, shard, num_shards), info, arrays[slice(*info.rows)])
        return folder


@pytest.fixture
def corpus(tmp_path):
    """An empty `Corpus`."""
    return Corpus(tmp_path)
