"""The target store: what is written is what is read, nothing half-written counts, nothing wrong is opened."""

import base64
import errno
import hashlib
import json
import re
import shutil
import zlib

import numpy as np
import pytest

from mert_fairseq.data import shard
from mert_fairseq.data.shard import read_info, shard_path, shard_rows, write_shard
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError

LENGTHS = (3200, 6401, 320, 12_800, 960, 321, 4000)


@pytest.fixture
def manifest(corpus):
    return corpus.manifest(LENGTHS)


def random_arrays(kind, seed=0):
    """Seven rows of 0 to 40 frames; row 2 is empty, as that of a damaged file is."""
    rng = np.random.default_rng(seed)
    frames = [10, 21, 0, 40, 3, 2, 13]
    if kind == "codes":
        return [rng.integers(0, (1000, 16), (count, 2)).astype(np.uint16) for count in frames]
    return [rng.standard_normal((count, 3)).astype(np.float16) for count in frames]


def refusal(folder, manifest, kind="codes", frame_rate=75.0):
    """The message with which opening a store is refused; one line, as the command shows it."""
    with pytest.raises(MertError) as caught:
        TargetStore(folder, manifest, kind, frame_rate)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_json(path, **changes):
    side = path.with_suffix(".json")
    side.write_text(json.dumps({**json.loads(side.read_text()), **changes}))


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


# Nothing half-written counts.


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


# Nothing wrong is opened.


def truncate(path, num_bytes):
    content = path.read_bytes()
    path.write_bytes(content[:num_bytes])


def remove_description(path):
    path.with_suffix(".json").unlink()


def remove_both(path):
    path.unlink()
    remove_description(path)


def save(convert):
    return lambda path: np.save(path, convert(np.load(path)))


MAKE_AGAIN = "run `mert labels` again"
#: What is done to the array's file, which of the two files is named, and what is said of it.
DAMAGE = {
    "array and description missing": (remove_both, ".json", "missing; make the shard with `mert labels`"),
    "description missing": (remove_description, ".json", "missing; make the shard with `mert labels`"),
    "array missing": (lambda path: path.unlink(), ".npy", f"missing; {MAKE_AGAIN}"),
    "a byte missing": (lambda path: truncate(path, -1), ".npy", f"truncated or damaged.*; delete it and {MAKE_AGAIN}"),
    "half missing": (lambda path: truncate(path, path.stat().st_size // 2), ".npy", f"truncated.*; delete it and {MAKE_AGAIN}"),
    "header cut": (lambda path: truncate(path, 60), ".npy", f"truncated.*; delete it and {MAKE_AGAIN}"),
    "empty": (lambda path: truncate(path, 0), ".npy", f"truncated.*; delete it and {MAKE_AGAIN}"),
    "not an array": (lambda path: path.write_bytes(b"PK" * 500), ".npy", f"truncated.*; delete it and {MAKE_AGAIN}"),
    "a pickle": (save(lambda array: array.astype(object)), ".npy", f"truncated or damaged.*; delete it and {MAKE_AGAIN}"),
    "int16": (save(lambda array: array.astype(np.int16)), ".npy", f"int16, its JSON says .* uint16; delete it and {MAKE_AGAIN}"),
    "other byte order": (save(lambda array: array.astype(">u2")), ".npy", f"its JSON says .* uint16; delete it and {MAKE_AGAIN}"),
    "a frame missing": (save(lambda array: array[1:]), ".npy", f"its JSON says.*; delete it and {MAKE_AGAIN}"),
    "transposed": (save(lambda array: array.T), ".npy", f"its JSON says.*; delete it and {MAKE_AGAIN}"),
    "a codebook too many": (save(lambda array: array[:, [0, 1, 1]]), ".npy", f"its JSON says.*; delete it and {MAKE_AGAIN}"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("shard", [0, 1])
def test_a_damaged_shard_is_named_with_the_mend(corpus, manifest, damage, shard):
    folder = corpus.store(manifest, num_shards=3)
    path = shard_path(folder, shard, 3)
    apply, suffix, message = DAMAGE[damage]
    apply(path)
    assert re.fullmatch(re.escape(f"{path.with_suffix(suffix)}: ") + ".*" + message, refusal(folder, manifest))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", "{}", '{"kind": "codes"}', "\x00\xff", '{"format": "mert-target-store", "version": 1}'],
)
def test_a_garbage_description(corpus, manifest, text):
    folder = corpus.store(manifest, num_shards=3)
    side = shard_path(folder, 1, 3).with_suffix(".json")
    side.write_bytes(text.encode("latin-1"))
    message = refusal(folder, manifest)
    assert message.startswith(f"{side}: not the description of a shard (")
    assert message.endswith("; delete it and run `mert labels` again")


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": None},
        {"frames": 7},
        {"frames": ["10", "21"]},
        {"frames": [10.5, 20.5]},
        {"frames": [-10, 41]},
        {"rows": None},
        {"rows": [2]},
        {"rows": [2, "4"]},
        {"width": "2"},
        {"kind": "words"},
        {"kind": ["codes"]},
        {"num_classes": None},
        {"num_classes": [1000]},
        {"num_classes": [1000, "16"]},
    ],
)
def test_a_description_of_the_wrong_types(corpus, manifest, changes):
    folder = corpus.store(manifest, num_shards=3)
    path = shard_path(folder, 1, 3)
    edit_json(path, **changes)
    message = refusal(folder, manifest)
    assert message.startswith(f"{path.with_suffix('.json')}: not the description of a shard (")
    assert message.endswith(f"; delete it and {MAKE_AGAIN}")


@pytest.mark.parametrize("changes", [{"version": 2}, {"version": 0}, {"format": "other"}])
def test_another_format(corpus, manifest, changes):
    folder = corpus.store(manifest, num_shards=2)
    path = shard_path(folder, 1, 2)
    edit_json(path, **changes)
    message = refusal(folder, manifest)
    assert message.startswith(f"{path.with_suffix('.json')}: format {changes.get('format', 'mert-target-store')!r} version")
    assert "this program reads 'mert-target-store' version 1" in message and message.endswith(MAKE_AGAIN)


def test_another_frame_rate(corpus, manifest):
    folder = corpus.store(manifest, num_shards=2)
    message = refusal(folder, manifest, frame_rate=50.0)
    path = shard_path(folder, 0, 2)
    assert message.startswith(f"{path}: 75.0 frames per second, the task's label_rate is 50.0;") and message.endswith(MAKE_AGAIN)
    edit_json(shard_path(folder, 1, 2), frame_rate=50.0)
    assert refusal(folder, manifest).startswith(f"{shard_path(folder, 1, 2)}: 50.0 frames per second")


def test_another_kind(corpus, manifest):
    folder = corpus.store(manifest)
    message = refusal(folder, manifest, kind="cqt")
    assert message == f"{shard_path(folder, 0, 1)}: holds codes, cqt wanted; check task.labels and task.cqt_labels"


@pytest.mark.parametrize("row, shard", [(0, 0), (2, 1), (3, 1), (4, 2), (6, 2)])
def test_a_manifest_with_one_other_row(corpus, manifest, row, shard):
    """One sample more in one file: the shard that covers the row is stale, and no other."""
    folder = corpus.store(manifest, num_shards=3)
    lengths = list(LENGTHS)
    lengths[row] += 1
    rows = list(shard_rows(7, shard, 3))
    assert refusal(folder, corpus.manifest(lengths)) == (
        f"{shard_path(folder, shard, 3)}: hash of the manifest's rows {rows} differs: it belongs to another manifest; "
        f"delete the folder and {MAKE_AGAIN}"
    )


@pytest.mark.parametrize("lengths", [LENGTHS + (320,), LENGTHS[:-1], LENGTHS[:2]])
def test_a_manifest_of_more_or_fewer_rows(corpus, manifest, lengths):
    folder = corpus.store(manifest, num_shards=3)
    message = refusal(folder, corpus.manifest(lengths))
    assert message.startswith(str(folder)) and f"it belongs to another manifest; delete the folder and {MAKE_AGAIN}" in message


def test_rows_in_another_order(corpus, manifest):
    folder = corpus.store(manifest)
    assert "it belongs to another manifest" in refusal(folder, corpus.manifest(LENGTHS[::-1]))


def test_shards_of_two_divisions(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    corpus.store(manifest, num_shards=2)
    message = refusal(folder, manifest)
    assert message.startswith(f"{folder}: shards of 2 different divisions (['00002', '00003'])") and "--nshard" in message


def test_a_shard_under_another_s_name(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    for suffix in (".npy", ".json"):
        shutil.copy(shard_path(folder, 0, 3).with_suffix(suffix), shard_path(folder, 1, 3).with_suffix(suffix))
    message = f"{shard_path(folder, 1, 3)}: covers rows [0, 2] with frames of 2, this manifest needs [2, 4]: it belongs"
    assert refusal(folder, manifest).startswith(message)


def test_frames_of_another_number_of_rows(corpus, manifest):
    path = shard_path(corpus.store(manifest, num_shards=3), 1, 3)
    edit_json(path, frames=[41])  # as many as its two rows have together
    assert refusal(path.parent, manifest).startswith(f"{path}: covers rows [2, 4] with frames of 1, this manifest needs [2, 4]")


@pytest.mark.parametrize(
    "key, value",
    [
        ("teacher", "another"),
        ("weights_sha256", "cd" * 32),
        ("settings", {"tones": [1, 3], "gain": 0.5}),
        ("num_classes", [1000, 17]),
    ],
)
def test_shards_of_two_teachers(corpus, manifest, key, value):
    folder = corpus.store(manifest, num_shards=3)
    path = shard_path(folder, 1, 3)
    edit_json(path, **{key: value})
    assert refusal(folder, manifest) == f"{path}: {key} differs from the first shard's; make all shards with one teacher"


def test_a_folder_without_targets(corpus, manifest, tmp_path):
    folder = tmp_path / "train.codes"
    assert refusal(folder, manifest).startswith(f"{folder}: no such folder of targets; make it with `mert labels`")
    folder.mkdir()
    (folder / "shard-00000-of-00001.npy").touch()  # its JSON, written last, is not there: the shard is not complete
    assert refusal(folder, manifest).startswith(f"{folder}: no complete shard; run `mert labels`")
    (folder / "shard-00000-of-many.json").touch()
    assert refusal(folder, manifest).startswith(f"{folder}: shards of")


def test_a_description_that_is_a_folder(tmp_path):
    (tmp_path / "shard-00000-of-00001.json").mkdir()
    with pytest.raises(MertError, match="shard-00000-of-00001.json: .*Is a directory"):
        read_info(shard_path(tmp_path, 0, 1))


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
