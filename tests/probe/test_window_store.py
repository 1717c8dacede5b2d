"""The cache of features: found again, whole after a kill, one writer at a time."""

import json
import multiprocessing
import os
import time

import numpy as np
import pytest

from mert_fairseq.errors import MertError
from mert_fairseq.probe.window_store import WindowStore

SHAPE = (3, 4)


def row(number: int) -> np.ndarray:
    return np.full((1, *SHAPE), number, np.float32)


def test_rows_are_found_by_their_keys(tmp_path):
    with WindowStore(tmp_path, SHAPE).writing() as store:
        store.add(["a", "b\tc"], np.concatenate([row(1), row(2)]))
        store.add(["ü"], row(3))
    again = WindowStore(tmp_path, SHAPE)
    assert again.places() == {"a": 0, "b\tc": 1, "ü": 2}
    np.testing.assert_array_equal(again.rows()[again.places()["ü"]], row(3)[0])
    assert WindowStore(tmp_path / "empty", SHAPE).rows().shape == (0, 3, 4)


@pytest.mark.parametrize("name,cut", [("rows.f32", 20), ("index.tsv", 2)])
def test_what_a_killed_writer_left_half_written_does_not_count(tmp_path, name, cut):
    with WindowStore(tmp_path, SHAPE).writing() as store:
        for number in range(3):
            store.add([f"key{number}"], row(number))
    size = os.path.getsize(tmp_path / name)
    os.truncate(tmp_path / name, size - cut)
    store = WindowStore(tmp_path, SHAPE)
    assert list(store.places()) == ["key0", "key1"]
    with store.writing():
        store.add(["key9"], row(9))
    assert WindowStore(tmp_path, SHAPE).places() == {"key0": 0, "key1": 1, "key9": 2}
    np.testing.assert_array_equal(WindowStore(tmp_path, SHAPE).rows()[:, 0, 0], [0, 1, 9])


def test_rows_without_their_line_do_not_count(tmp_path):
    with WindowStore(tmp_path, SHAPE).writing() as store:
        store.add(["a"], row(1))
        with open(tmp_path / "rows.f32", "ab") as file:  # killed between rows and index
            file.write(row(5).tobytes())
    with WindowStore(tmp_path, SHAPE).writing() as store:
        store.add(["b"], row(2))
    np.testing.assert_array_equal(WindowStore(tmp_path, SHAPE).rows()[:, 0, 0], [1, 2])


def test_a_key_that_became_another_does_not_find_the_others_row(tmp_path, caplog):
    with WindowStore(tmp_path, SHAPE).writing() as store:
        store.add(["0 song", "24000 song"], np.concatenate([row(1), row(2)]))
    path = tmp_path / "index.tsv"
    text = path.read_text()
    path.write_text(text.replace("24000 song", "0 song"))
    store = WindowStore(tmp_path, SHAPE)
    assert store.places() == store.places() == {"0 song": 0}
    assert caplog.text.count("line 2 is not as it was written; its window is heard again") == 1
    with store.writing():
        store.add(["24000 song"], row(2))
    assert WindowStore(tmp_path, SHAPE).places() == {"0 song": 0, "24000 song": 2}
    path.write_text("".join(f"{line[:10]}{line[18:]}\n" for line in text.splitlines()))  # of an earlier version
    again = WindowStore(tmp_path, SHAPE)
    again.check(again.places().values())
    assert again.places() == {"0 song": 0, "24000 song": 1}


def _write(folder, name, held):
    store = WindowStore(folder, SHAPE)
    with store.writing():
        if "shared" not in store.places():
            held.put(name)
            time.sleep(0.5)
            store.add(["shared"], row(7))


def test_two_processes_write_one_after_the_other(tmp_path):
    context = multiprocessing.get_context("fork")
    held = context.Queue()
    writers = [context.Process(target=_write, args=(tmp_path, name, held)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert held.get(timeout=5) in ("one", "two") and held.empty()
    assert list(WindowStore(tmp_path, SHAPE).places()) == ["shared"]


def test_rows_of_another_shape_are_refused(tmp_path):
    WindowStore(tmp_path, SHAPE)
    with pytest.raises(MertError, match="give another --cache"):
        WindowStore(tmp_path, (3, 5))
    (tmp_path / "store.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(MertError, match="store.json"):
        WindowStore(tmp_path, SHAPE)
