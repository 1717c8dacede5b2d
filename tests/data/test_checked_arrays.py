"""Arrays with their checksums: each byte of the file counts, and nothing of one is there before all of it is."""

import re

import numpy as np
import pytest

from mert_fairseq.data.checked_arrays import HEADER, filled_checked, map_checked, write_checked
from mert_fairseq.errors import MertError

ARRAY = np.arange(40, dtype="<f2").reshape(4, 10)


@pytest.fixture
def path(tmp_path):
    write_checked(tmp_path / "one.array", ARRAY)
    return tmp_path / "one.array"


def read(path, dtype="<f2", num_axes=2):
    """The array of a file that is as it was written."""
    mapped = map_checked(path, dtype, num_axes)
    mapped.check()
    return mapped.array


def test_what_is_written_is_read_without_reading_all_of_it(path):
    assert np.array_equal(read(path), ARRAY) and isinstance(map_checked(path, "<f2", 2).array, np.memmap)
    assert path.stat().st_size == HEADER + ARRAY.nbytes and path.read_bytes().startswith(b"mert array 1 <f2 4x10 ")
    write_checked(path, np.arange(6, dtype=np.uint8).reshape(2, 3).T)
    assert read(path, "|u1").tolist() == [[0, 3], [1, 4], [2, 5]]


def test_each_bit_counts(path):
    """The header's before the array is looked at."""
    text = path.read_bytes()
    for place in range(len(text)):
        for bit in range(8):
            path.write_bytes(text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :])
            with pytest.raises(ValueError, match="as it was written"):
                map_checked(path, "<f2", 2) if place < HEADER else read(path)


@pytest.mark.parametrize("length", [0, 50, HEADER - 1, HEADER, HEADER + 79, HEADER + 81])
def test_a_file_of_another_length_is_refused(path, length):
    path.write_bytes((path.read_bytes() + b"\0")[:length])
    with pytest.raises(ValueError, match="not as it was written" if length < HEADER else f"{length} bytes, {HEADER + 80} wanted"):
        map_checked(path, "<f2", 2)


@pytest.mark.parametrize("dtype, num_axes", [("|u1", 2), (">f2", 2), ("<f2", 1), ("<f2", 3)])
def test_an_array_of_another_type_or_shape_is_refused(path, dtype, num_axes):
    with pytest.raises(ValueError, match=re.escape(f"no array of {num_axes} axes of {dtype}")):
        map_checked(path, dtype, num_axes)


def test_an_array_that_is_filled_is_there_when_it_is_full(path):
    filled = path.with_name("other.array")
    with filled_checked(filled, "<f2", (4, 10)) as array:
        assert not array.any() and not filled.exists()
        array[:, :5] = ARRAY[:, :5]
        array[:, 5:] = ARRAY[:, 5:]
    assert filled.read_bytes() == path.read_bytes()
    with pytest.raises(KeyboardInterrupt), filled_checked(filled, "<f2", (4, 10)):
        raise KeyboardInterrupt
    assert filled.read_bytes() == path.read_bytes() and sorted(path.parent.iterdir()) == [path, filled]


def test_room_is_taken_at_once(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(MertError, match="GB for features cannot be taken .No space left on device.; make room"):
        with filled_checked(tmp_path / "one.array", "<f2", (4, 10)):
            pass
    assert not list(tmp_path.iterdir())
