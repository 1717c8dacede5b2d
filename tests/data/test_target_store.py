"""The target store: what is written is what is read, and reading refuses what opening cannot see."""

import base64
import hashlib
import json
import zlib

import numpy as np
import pytest
from stored_targets import LENGTHS, edit_json, random_arrays

from mert_fairseq.data.shard import read_info, shard_path, shard_rows
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError

# What is written is what is read.


@pytest.mark.parametrize("num_shards", [1, 3, len(LENGTHS)])
@pytest.mark.parametrize("kind, dtype", [("codes", np.uint16), ("cqt", np.float16)])
def test_any_window_of_any_row_is_what_was_written(corpus, manifest, kind, dtype, num_shards):
    arrays = random_arrays(kind)
    store = TargetStore(corpus.store(manifest, arrays, kind=kind, num_shards=num_shards), manifest, kind, 75.0)
    assert len(store.paths) == num_shards
    assert (store.width, store.teacher) == (arrays[0].shape[1], "maker")
    assert store.num_classes == ([1000, 16] if kind == "codes" else None)
    assert store.num_frames.tolist() == [len(array) for array in arrays]
    rng = np.random.default_rng(1)
    for row, array in enumerate(arrays):
        windows = [(0, len(array)), (0, 0), (len(array), len(array))]
        windows += [sorted(rng.integers(0, len(array) + 1, 2).tolist()) for _ in range(10)]
        for start, stop in windows:
            window = store.read(row, start, stop)
            assert window.dtype == dtype
            np.testing.assert_array_equal(window, array[start:stop])


@pytest.mark.parametrize("num_frames", [1, 7, 10, 1000])
def test_blocks_are_all_frames_in_order(corpus, manifest, num_frames):
    arrays = random_arrays("codes")
    store = TargetStore(corpus.store(manifest, arrays, num_shards=3), manifest, "codes", 75.0)
    blocks = list(store.blocks(num_frames))
    assert max(map(len, blocks)) == min(num_frames, 40)  # a block does not go beyond a shard of 31, 40 or 18 frames
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(arrays))


def test_reading_touches_the_file_and_not_a_copy(corpus, manifest):
    """Memory must not grow with the targets."""
    store = TargetStore(corpus.store(manifest), manifest, "codes", 75.0)
    window = store.read(3, 5, 20)
    assert not window.flags.owndata and not window.flags.writeable
    while not isinstance(window, np.memmap):
        window = window.base


def test_a_store_of_empty_rows_only(corpus, manifest):
    arrays = [np.zeros((0, 2))] * len(LENGTHS)
    store = TargetStore(corpus.store(manifest, arrays, num_shards=2), manifest, "codes", 75.0)
    assert store.num_frames.tolist() == [0] * 7 and list(store.blocks(10)) == []
    assert store.read(6, 0, 0).shape == (0, 2)


def test_files_are_a_plain_array_and_its_description(corpus, manifest):
    arrays = random_arrays("codes")
    folder = corpus.store(manifest, arrays, num_shards=2, notes={"bad_rows": {"2": "why"}})
    assert sorted(path.name for path in folder.iterdir()) == [
        "shard-00000-of-00002.json",
        "shard-00000-of-00002.npy",
        "shard-00001-of-00002.json",
        "shard-00001-of-00002.npy",
    ]
    held = np.load(folder / "shard-00001-of-00002.npy")
    assert held.dtype == np.uint16
    np.testing.assert_array_equal(held, np.concatenate(arrays[3:]))
    rows = b"train3.wav\t12800\ntrain4.wav\t960\ntrain5.wav\t321\ntrain6.wav\t4000\n"
    found = json.loads((folder / "shard-00001-of-00002.json").read_text())
    assert found.pop("content_sha256") == hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    assert found == {
        "format": "mert-target-store",
        "version": 1,
        "kind": "codes",
        "teacher": "maker",
        "width": 2,
        "frame_rate": 75.0,
        "rows": [3, 7],
        "frames": [40, 3, 2, 13],
        "num_classes": [1000, 16],
        "settings": {"tones": [1, 2], "gain": 0.5},
        "weights_sha256": "ab" * 32,
        "manifest_sha256": hashlib.sha256(rows).hexdigest(),
        "data_sha256": hashlib.sha256(np.concatenate(arrays[3:]).tobytes()).hexdigest(),
        "block_crc32": base64.b64encode(zlib.crc32(np.concatenate(arrays[3:]).tobytes()).to_bytes(4, "little")).decode(),
        "scale": None,
        "made_by": {},
        "notes": {"bad_rows": {"2": "why"}},
    }


def test_a_key_of_a_later_writer_is_ignored(corpus, manifest):
    folder = corpus.store(manifest)
    edit_json(shard_path(folder, 0, 1), written_by="someone")
    assert len(TargetStore(folder, manifest, "codes", 75.0).num_frames) == 7


@pytest.mark.parametrize("num_rows, num_shards", [(1, 1), (7, 1), (7, 3), (7, 7), (100, 8)])
def test_shards_are_contiguous_and_alike(num_rows, num_shards):
    parts = [range(*shard_rows(num_rows, shard, num_shards)) for shard in range(num_shards)]
    assert [row for part in parts for row in part] == list(range(num_rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard, num_shards", [(-1, 3), (3, 3), (0, 0), (0, 8)])
def test_shards_that_cannot_be(shard, num_shards):
    with pytest.raises(MertError, match=f"shard {shard} of {num_shards}: need 0 <= shard < nshard <= 7"):
        shard_rows(7, shard, num_shards)


# Reading refuses what opening cannot see.


def test_a_code_outside_its_codebook(corpus, manifest):
    arrays = random_arrays("codes")
    arrays[3][7] = (999, 16)  # allowed: 0..999 and 0..15
    arrays[6][0] = (1000, 15)
    folder = corpus.store(manifest, arrays, num_shards=3)
    store = TargetStore(folder, manifest, "codes", 75.0)
    np.testing.assert_array_equal(store.read(3, 0, 7), arrays[3][:7])
    np.testing.assert_array_equal(store.read(3, 8, 40), arrays[3][8:])
    with pytest.raises(MertError) as caught:
        store.read(3, 0, 8)
    assert str(caught.value) == (
        f"{shard_path(folder, 1, 3)}: row 3: code 16 of codebook 1, 0..15 allowed; delete the shard and run `mert labels` again"
    )
    with pytest.raises(MertError, match="00002-of-00003.npy: row 6: code 1000 of codebook 0, 0..999 allowed"):
        store.read(6, 0, 13)


def test_the_largest_codes_are_allowed(corpus, manifest):
    arrays = [np.tile([999, 15], (5, 1)) for _ in LENGTHS]
    store = TargetStore(corpus.store(manifest, arrays), manifest, "codes", 75.0)
    assert store.read(0, 0, 5).tolist() == [[999, 15]] * 5


@pytest.mark.parametrize("start, stop", [(0, 22), (21, 22), (22, 22), (-1, 5), (6, 5)])
def test_a_window_beyond_the_row(corpus, manifest, start, stop):
    folder = corpus.store(manifest, random_arrays("codes"), num_shards=3)
    store = TargetStore(folder, manifest, "codes", 75.0)
    with pytest.raises(MertError) as caught:
        store.read(1, start, stop)
    assert str(caught.value) == f"{folder}: row 1 has 21 frames, {start}..{stop} wanted; run `mert labels check`"


def test_a_description_is_read_back_as_it_was(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    info = read_info(shard_path(folder, 1, 3))
    assert list(info.rows) == [2, 4] and info.frames == [1, 40] and info.settings == {"tones": [1, 2], "gain": 0.5}
