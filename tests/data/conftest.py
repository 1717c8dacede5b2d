"""Manifests, recordings and data sets for the tests of data."""

import made_crops
import pytest
import stored_targets
from made_manifests import ROWS
from scanned_music import tone, write

from mert_fairseq.data.crop_settings import CropSettings
from mert_fairseq.data.manifest import write_manifest
from mert_fairseq.data.mert_dataset import MERTDataset
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import CONV_LAYERS


@pytest.fixture
def manifest(corpus):
    return corpus.manifest(stored_targets.LENGTHS)


@pytest.fixture
def build(corpus):
    """build(lengths, ...) -> a data set over recordings, codes and (unless with_cqt=False) CQT of these lengths."""

    def build(lengths=made_crops.LENGTHS, with_cqt=True, num_shards=1, codes=None, seed=1, max_bad_files=0, **crop):
        manifest = corpus.manifest(lengths, audio=True)
        codes = TargetStore(corpus.store(manifest, codes, num_shards=num_shards), manifest, "codes", 75.0)
        cqt = TargetStore(corpus.store(manifest, kind="cqt", num_shards=num_shards), manifest, "cqt", 75.0) if with_cqt else None
        settings = CropSettings(**{"max_samples": made_crops.CROP, "min_samples": 1000, **crop})
        return MERTDataset(manifest, [codes], cqt, settings, CONV_LAYERS, seed, max_bad_files)

    return build


@pytest.fixture
def music(tmp_path):
    """Twelve good files of 1 s in nested folders, of every suffix."""
    for number in range(12):
        name = f"album {number % 3}/{number:02d}.{('wav', 'flac', 'ogg', 'mp3')[number % 4]}"
        write(tmp_path / "music" / name, tone(1 + number / 100))
    (tmp_path / "music" / "cover.txt").write_text("no audio")
    return tmp_path / "music"


@pytest.fixture
def written(tmp_path):
    write_manifest(tmp_path / "train.tsv", "/data/music", ROWS)
    return tmp_path / "train.tsv"
