"""Kept frames that are not as they were written are refused in one line; whole ones are not, whoever wrote them."""

import logging

import numpy as np
import pytest
from made_up_recordings import WHOLE, Ramp, all_of, hear, write_recordings

from mert_fairseq.data.checked_arrays import HEADER
from mert_fairseq.errors import MertError
from mert_fairseq.probe.frame_features import recordings_of
from mert_fairseq.probe.stored_frames import StoredFrames, store_frames


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("music"))


def kept(items, cache, number=0):
    """The file of a recording's first hidden state."""
    return recordings_of(Ramp(), items, WHOLE, [1], cache, items[0].path.parent)[number].files[1]


def test_kept_frames_that_are_not_as_they_were_written_are_refused(items, tmp_path):
    first, _ = hear(Ramp(), items, tmp_path, [1])
    wanted, path = all_of(first, 1), kept(items, tmp_path)
    text = path.read_bytes()
    path.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    frames, _ = hear(Ramp(), items, tmp_path, [1])
    for read in (lambda: all_of(frames, 1), lambda: frames.loaded(1)):
        with pytest.raises(MertError, match="1.array: cannot be read .not as it was written.; remove it, and the same command"):
            read()
    path.unlink()
    again = Ramp()
    assert np.array_equal(all_of(hear(again, items, tmp_path, [1])[0], 1), wanted) and len(again.heard) == 1


def test_each_bit_of_the_header_counts_before_the_shape_is_used(tmp_path):
    """One of them makes 224 frames of 624."""
    path = tmp_path / "frames" / "0.array"
    store_frames(path, np.random.default_rng(0).standard_normal((600, 3)))
    text = path.read_bytes()
    for place in range(HEADER):
        for bit in range(8):
            path.write_bytes(text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :])
            with pytest.raises(MertError, match="0.array: cannot be read .its header is not as it was written.; remove it"):
                StoredFrames(0, {0: path})


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00" + b"x" * 300])
def test_a_file_of_another_kind_is_refused(items, tmp_path, content):
    hear(Ramp(), items, tmp_path, [1])
    kept(items, tmp_path).write_bytes(content)
    with pytest.raises(MertError, match="1.array: cannot be read .*; remove it, and the same command makes it again"):
        hear(Ramp(), items, tmp_path, [1])


def test_frames_of_another_shape_than_the_first_are_refused(tmp_path):
    for layer, shape in enumerate([(300, 3), (301, 3), (300, 4)]):
        store_frames(tmp_path / "frames" / f"{layer}.array", np.random.default_rng(0).standard_normal(shape))
    frames = StoredFrames(2, {layer: tmp_path / "frames" / f"{layer}.array" for layer in range(3)})
    for layer in (1, 2):
        with pytest.raises(MertError, match=rf"{layer}.array: cannot be read .shape .*, \(316, 3\) wanted.; remove it"):
            all_of(frames, layer)


def test_two_that_write_the_same_frames_leave_those_of_one(tmp_path):
    """Bytes differ between batch sizes and machines; whoever is killed, and whenever, what is there is of one of them."""
    path, random = tmp_path / "frames" / "0.array", np.random.default_rng(0)
    one, other = (random.standard_normal((300, 3)) for _ in range(2))
    store_frames(path, one)
    frames = StoredFrames(0, {0: path})
    before = all_of(frames, 0)
    store_frames(path, other)
    after = all_of(frames, 0)
    assert sorted(path.parent.iterdir()) == [path]
    assert np.abs(before - one).max() < 0.05 and np.abs(after - other).max() < 0.05


def test_another_file_in_the_place_of_one_that_was_read_is_looked_at_too(tmp_path):
    path, random = tmp_path / "frames" / "0.array", np.random.default_rng(0)
    store_frames(path, random.standard_normal((300, 3)))
    frames = StoredFrames(0, {0: path})
    all_of(frames, 0)
    store_frames(path, random.standard_normal((300, 3)))
    text = path.read_bytes()
    path.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    with pytest.raises(MertError, match="0.array: cannot be read .not as it was written"):
        all_of(frames, 0)


@pytest.mark.parametrize("older", [("1.npy",), ("1.npy", "1.crc32"), ("1.crc32",)])
def test_frames_of_earlier_versions_are_heard_again_and_go(items, tmp_path, caplog, older):
    for number in range(2):
        folder = kept(items, tmp_path, number).parent
        folder.mkdir(parents=True)
        for name in older:
            (folder / name).write_bytes(b"as it was")
    again = Ramp()
    with caplog.at_level(logging.WARNING, "mert_fairseq"):
        hear(again, items, tmp_path, [1])
    assert len(again.heard) == 2 and len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    said = [record.message for record in caplog.records]
    assert len(said) == 1 and "2 hidden states are kept without a checksum" in said[0]
