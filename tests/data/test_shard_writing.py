"""Writing shards: nothing half-written counts."""

import errno

import numpy as np
import pytest
from stored_targets import random_arrays, refusal

from mert_fairseq.data import shard
from mert_fairseq.data.shard import shard_path, write_shard
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, AssertionError])
def test_a_failure_between_rows_leaves_nothing(corpus, manifest, error):
    path = shard_path(corpus.labels / "train.codes", 0, 1)

    def rows():
        yield corpus.codes(0, 3200)
        assert [entry.suffix for entry in path.parent.iterdir()] == [".part"]
        raise error

    with pytest.raises(error):
        write_shard(path, corpus.info(manifest), rows())
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("array", [np.zeros(4), np.zeros((4, 3)), np.zeros((4, 2, 1))])
def test_rows_of_another_shape_are_not_written(corpus, manifest, array):
    path = shard_path(corpus.labels, 0, 1)
    with pytest.raises(AssertionError):
        write_shard(path, corpus.info(manifest), [corpus.codes(0, 3200), array])
    assert list(path.parent.iterdir()) == []


def test_a_failure_leaves_what_was_there(corpus, manifest):
    folder = corpus.store(manifest)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == 2

    def rows():
        yield corpus.codes(1, 320)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_shard(shard_path(folder, 0, 1), corpus.info(manifest), rows())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def full_disk(suffix, writes_left):
    """Stands for `open`: after so many writes into a file whose name has `suffix` there is no room."""

    def open_limited(path, *args, **kwargs):
        handle = open(path, *args, **kwargs)
        if suffix in path.name:
            write, left = handle.write, iter(range(writes_left))

            def limited(content):
                if next(left, None) is None:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(content)

            handle.write = limited
        return handle

    return open_limited


@pytest.mark.parametrize("suffix, writes_left", [(".npy", 0), (".npy", 4), (".npy", 8), (".json", 0), (".json", 5)])
@pytest.mark.parametrize("rewrite", [False, True])
def test_a_full_disk_is_one_line_and_no_store(corpus, manifest, monkeypatch, suffix, writes_left, rewrite):
    """Writes 0 and 8 of the array are its header, before and after the rows; the JSON is written in pieces."""
    folder, arrays = corpus.labels / "train.codes", random_arrays("codes")
    if rewrite:
        corpus.store(manifest, arrays, teacher="another")
    monkeypatch.setattr(shard, "open", full_disk(suffix, writes_left), raising=False)
    with pytest.raises(MertError) as caught:
        corpus.store(manifest, random_arrays("codes", seed=2))
    path = shard_path(folder, 0, 1)
    mend = "make room or pick another folder and run again"
    assert str(caught.value) == f"{path}: cannot be written (No space left on device); {mend}"
    assert not list(folder.glob(".*"))
    if rewrite and suffix == ".npy":  # the shard that was there still is
        np.testing.assert_array_equal(TargetStore(folder, manifest, "codes", 75.0).read(3, 0, 40), arrays[3])
    else:
        assert "no complete shard" in refusal(folder, manifest)
    monkeypatch.undo()
    corpus.store(manifest, arrays)
    np.testing.assert_array_equal(TargetStore(folder, manifest, "codes", 75.0).read(3, 0, 40), arrays[3])


def test_a_disk_that_fails_to_flush(corpus, manifest, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shard.os, "fsync", fsync)
    with pytest.raises(MertError, match=r"shard-00000-of-00001.npy: cannot be written \(Input/output error\)"):
        corpus.store(manifest)
    assert list((corpus.labels / "train.codes").iterdir()) == []


def test_a_file_in_the_folder_s_place(corpus, manifest):
    corpus.labels.write_text("not a folder")
    with pytest.raises(MertError, match="shard-00000-of-00001.npy: cannot be written"):
        corpus.store(manifest)
