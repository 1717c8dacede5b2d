"""Damaged recordings: their shards are not written, or they are noted as rows without targets where that is allowed."""

import logging

import numpy as np
import pytest
import soundfile
from made_teacher import Teacher, contents, write

from mert_fairseq.data.shard import read_info
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.teachers.labeller import cqt_labeller
from mert_fairseq.teachers.labelling import write_labels
from mert_fairseq.teachers.store_check import check_store

pytestmark = pytest.mark.usefixtures("recordings")


def damage(corpus, *rows):
    for row in rows:
        (corpus.audio / f"train{row}.wav").write_bytes(b"no audio")


def test_damaged_files_stop_their_shards_only_and_are_named(corpus, manifest, folder, caplog):
    damage(corpus, 0, 5)
    teacher = Teacher()
    with pytest.raises(MertError) as caught:
        write(manifest, folder, by=teacher)
    message = str(caught.value)
    assert message.startswith("2 damaged files (0 in the whole store allowed by --allow-bad): row 0: ")
    assert f"row 0: {corpus.audio / 'train0.wav'}: cannot be opened" in message
    assert f"; row 5: {corpus.audio / 'train5.wav'}: cannot be opened" in message and "\n" not in message
    assert sorted(contents(folder)) == ["shard-00001-of-00003.json", "shard-00001-of-00003.npy"]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ["shard-00000-of-00003.npy not written", "shard-00002-of-00003.npy not written"]
    assert {2, 3} <= set(teacher.rows)


def test_after_the_mend_only_the_rest_is_done(corpus, manifest, folder):
    sound = (corpus.audio / "train0.wav").read_bytes()
    damage(corpus, 0)
    with pytest.raises(MertError, match="1 damaged files"):
        write(manifest, folder)
    (corpus.audio / "train0.wav").write_bytes(sound)
    teacher = Teacher()
    assert write(manifest, folder, by=teacher) == 1 and teacher.rows == [0, 1]
    assert check_store(folder, manifest).faults == []


def test_a_missing_file_is_a_damaged_one(corpus, manifest, folder):
    (corpus.audio / "train6.wav").unlink()
    with pytest.raises(MertError, match="1 damaged files .*: row 6: .*train6.wav: no such file"):
        write(manifest, folder)


def test_allowed_files_become_empty_rows_with_a_note(corpus, manifest, folder):
    damage(corpus, 1, 5)
    assert write(manifest, folder, allow_bad=2) == 3
    store = TargetStore(folder, manifest, "codes", 75.0)
    assert [row for row in range(7) if store.num_frames[row] == 0] == [1, 5]
    np.testing.assert_array_equal(store.read(6, 0, 13), corpus.codes(6, 4000))
    notes = [read_info(path).notes for path in store.paths]
    assert [list(note.get("bad_rows", {})) for note in notes] == [["1"], [], ["5"]]
    assert notes[0]["bad_rows"]["1"].startswith(f"{corpus.audio / 'train1.wav'}: cannot be opened as audio")
    assert check_store(folder, manifest).faults == []
    assert write(manifest, folder) == 0  # complete, whatever is allowed now


def test_one_more_than_allowed(corpus, manifest, folder):
    damage(corpus, 1, 3, 5)
    with pytest.raises(MertError, match=r"3 damaged files \(2 in the whole store allowed by --allow-bad\): row 1: .*; row 3: .*; row 5: "):
        write(manifest, folder, allow_bad=2)
    assert sorted(path.name for path in folder.glob("*.npy")) == ["shard-00000-of-00003.npy", "shard-00001-of-00003.npy"]


def test_a_file_of_another_length_than_its_row_is_a_damaged_one(corpus, manifest, folder):
    soundfile.write(corpus.audio / "train2.wav", np.zeros(500, np.float32), 24_000)
    with pytest.raises(MertError, match="row 2: .*train2.wav: 500 samples, its row says 320; .*run `mert manifest` again"):
        write(manifest, folder)


def test_allowed_files_are_counted_over_the_whole_store(corpus, manifest, folder):
    damage(corpus, 1, 5)
    assert write(manifest, folder, shards=[0], allow_bad=1) == 1
    for _ in range(2):  # the same command again does not allow one more
        with pytest.raises(MertError, match="1 damaged files .1 in the whole store allowed"):
            write(manifest, folder, shards=[2], allow_bad=1)
    assert write(manifest, folder, shards=[2], allow_bad=2) == 1


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_a_damaged_file_gives_its_shard_up_whatever_the_form(corpus, tmp_path, dtype):
    """The compact form reads all rows before it writes the first; the rows behind the damaged one must not become empty ones."""
    manifest = corpus.manifest([24_000, 12_000, 24_000], audio=True)
    manifest.path(1).write_bytes(b"no audio")
    folder = tmp_path / "train.cqt"
    for _ in range(2):
        with pytest.raises(MertError, match="1 damaged files"):
            write_labels(manifest, folder, cqt_labeller(dtype), 1, [0])
        assert not list(folder.glob("shard-*"))
    assert write_labels(manifest, folder, cqt_labeller(dtype), 1, [0], allow_bad=1) == 1
    store = TargetStore(folder, manifest, "cqt", 75.0)
    assert store.num_frames.tolist() == [76, 0, 76]
