"""Codes that say nothing are told at the start, with their shard; whatever varies is not."""

import numpy as np
import pytest

from mert_fairseq.data import constant_codes as module
from mert_fairseq.data.constant_codes import constant_codes, warn_of_constant_codes
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import num_code_frames

LENGTHS = (400_000, 40_000, 20_000, 30_000, 9000, 50_000)  # the first one of 1,249 frames


@pytest.fixture
def manifest(corpus):
    return corpus.manifest(LENGTHS)


def varied():
    rng = np.random.default_rng(0)
    return [np.stack([rng.integers(0, 1000, num), rng.integers(0, 16, num)], axis=1) for num in map(num_code_frames, LENGTHS)]


def opened(corpus, manifest, arrays, num_shards=2):
    return TargetStore(corpus.store(manifest, arrays, num_shards=num_shards), manifest, "codes", 75.0)


def test_codes_that_vary_are_passed_over(corpus, manifest, caplog):
    warn_of_constant_codes(opened(corpus, manifest, varied()))
    assert not caplog.records


def test_a_constant_codebook_is_named_with_its_shard(corpus, manifest, caplog):
    arrays = varied()
    for array in arrays[3:]:
        array[:, 1] = 7
    store = opened(corpus, manifest, arrays)
    assert list(constant_codes(store)) == [(1, 1, 7)]
    warn_of_constant_codes(store)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{store.paths[1]}: codebook 1 is code 7 wherever it was looked at; they teach nothing: ")


def test_of_several_the_first_is_named_and_the_others_counted(corpus, manifest, caplog):
    warn_of_constant_codes(opened(corpus, manifest, [np.zeros_like(array) for array in varied()], num_shards=2))
    (record,) = caplog.records
    assert "codebook 0 is code 0 wherever it was looked at (and 3 more like it); " in record.getMessage()


def test_one_other_code_in_the_middle_of_a_row_is_enough(corpus, manifest):
    arrays = [np.full_like(array, 3) for array in varied()]
    arrays[0][600] = 4
    assert list(constant_codes(opened(corpus, manifest, arrays, num_shards=1))) == []


def test_a_second_of_a_shard_is_the_least_that_tells(corpus, manifest, monkeypatch):
    store = opened(corpus, manifest, [np.zeros_like(array) for array in varied()], num_shards=6)
    assert [shard for shard, codebook, _ in constant_codes(store) if not codebook] == [0, 1, 3, 5]  # 61 and 27 frames tell nothing
    monkeypatch.setattr(module, "MOST_SHARDS", 2)
    assert [shard for shard, codebook, _ in constant_codes(store) if not codebook] == [0, 5]


def test_empty_rows_are_passed_over(corpus, manifest):
    arrays = varied()
    arrays[:3] = [array[:0] for array in arrays[:3]]
    assert list(constant_codes(opened(corpus, manifest, arrays))) == []
