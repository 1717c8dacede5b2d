"""Checksums of a shard's blocks: however it was written, whatever changes in it is noticed where it is read."""

import hashlib
import json
import zlib

import numpy as np
import pytest

from mert_fairseq.data.block_checksums import BLOCK_FRAMES, BlockSums, CheckedFrames, read_sums
from mert_fairseq.data.shard import shard_path
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError


def array_of(num_frames, width=2):
    return np.random.default_rng(num_frames).integers(0, 1000, (num_frames, width)).astype(np.uint16)


@pytest.mark.parametrize("num_frames", [0, 1, BLOCK_FRAMES - 1, BLOCK_FRAMES, BLOCK_FRAMES + 1, 3 * BLOCK_FRAMES])
@pytest.mark.parametrize("piece", [1, 100, BLOCK_FRAMES, 10 * BLOCK_FRAMES])
def test_sums_do_not_depend_on_the_pieces(num_frames, piece):
    array, sums = array_of(num_frames), BlockSums()
    for first in range(0, num_frames, piece):
        sums.add(array[first : first + piece])
    wanted = [zlib.crc32(array[first : first + BLOCK_FRAMES].tobytes()) for first in range(0, num_frames, BLOCK_FRAMES)]
    assert read_sums(sums.text(), num_frames).tolist() == wanted


def test_what_changed_is_refused_and_the_rest_is_read(tmp_path):
    whole, sums = array_of(3 * BLOCK_FRAMES - 7), BlockSums()
    sums.add(whole)
    for frame in (0, BLOCK_FRAMES - 1, BLOCK_FRAMES, len(whole) - 1):
        array, block = whole.copy(), frame // BLOCK_FRAMES
        array[frame, 1] ^= 1
        frames = CheckedFrames(tmp_path / "a.npy", array, read_sums(sums.text(), len(whole)))
        start = block * BLOCK_FRAMES
        for first, stop in ((frame, frame + 1), (0, len(whole)), (start, start + 1), (frame, len(whole) + 99)):
            with pytest.raises(MertError, match=f"a.npy: changed since it was written, between frames {start} and "):
                frames[first:stop]
        for other in {0, 1, 2} - {block}:
            part = slice(other * BLOCK_FRAMES, min((other + 1) * BLOCK_FRAMES, len(whole)))
            np.testing.assert_array_equal(frames[part], whole[part])
        assert len(frames[frame:frame]) == 0


@pytest.mark.parametrize("text", ["", "AAAA", "AAAAAAAAAAAAAAAA", "no base64!", "ÄÄÄÄ"])
def test_sums_of_something_else_are_refused(text):
    with pytest.raises(ValueError):
        read_sums(text, BLOCK_FRAMES + 1)


def older(path):
    """Makes a shard's JSON what the version before wrote."""
    content = json.loads(path.read_text())
    del content["block_crc32"], content["content_sha256"]
    path.write_text(json.dumps({**content, "content_sha256": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}))


def test_a_store_without_sums_is_read_and_said(corpus, caplog):
    manifest = corpus.manifest((3200, 6400))
    folder = corpus.store(manifest, num_shards=2)
    TargetStore(folder, manifest, "codes", 75.0)
    assert not caplog.records
    older(shard_path(folder, 1, 2).with_suffix(".json"))
    store = TargetStore(folder, manifest, "codes", 75.0)
    np.testing.assert_array_equal(store.read(1, 0, 20), corpus.codes(1, 6400)[:20])
    assert [record.getMessage().partition("; ")[0] for record in caplog.records] == [
        f"{folder}: 1 shards are of an older version, without checksums that training looks at"
    ]


def test_sums_cannot_be_taken_out(corpus):
    """A JSON whose hash is of them as well is no older one."""
    manifest = corpus.manifest((3200, 6400))
    side = shard_path(folder := corpus.store(manifest), 0, 1).with_suffix(".json")
    content = json.loads(side.read_text())
    for changed in ({**content, "block_crc32": None}, {key: value for key, value in content.items() if key != "block_crc32"}):
        side.write_text(json.dumps(changed))
        with pytest.raises(MertError, match="changed since it was written"):
            TargetStore(folder, manifest, "codes", 75.0)
