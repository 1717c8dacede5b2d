"""From recordings to stores with made-up teachers: reruns, other teachers and divisions, and what the forms of codes and CQT hold."""

import json

import numpy as np
import pytest
import soundfile
from made_music import noise
from made_teacher import LENGTHS, Teacher, contents, write

from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.shard import read_info, shard_path
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.frames import num_code_frames
from mert_fairseq.teachers.labeller import cqt_labeller, encodec_labeller
from mert_fairseq.teachers.labelling import write_labels
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings
from mert_fairseq.teachers.store_check import check_store

pytestmark = pytest.mark.usefixtures("recordings")

# Writing.


@pytest.mark.parametrize("num_shards, rows", [(1, [[0, 7]]), (3, [[0, 2], [2, 4], [4, 7]]), (7, [[n, n + 1] for n in range(7)])])
def test_shards_cover_the_manifest_and_read_as_the_teacher_said(corpus, manifest, folder, num_shards, rows):
    teacher = Teacher()
    assert write(manifest, folder, num_shards, by=teacher) == num_shards and teacher.rows == list(range(7))
    assert [list(read_info(shard_path(folder, shard, num_shards)).rows) for shard in range(num_shards)] == rows
    store = TargetStore(folder, manifest, "codes", 75.0)
    for row, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(store.read(row, 0, int(store.num_frames[row])), corpus.codes(row, length))
    info = read_info(shard_path(folder, 0, num_shards))
    assert (info.teacher, info.settings, info.frame_rate, info.notes) == ("maker", {"gain": 0.5}, 75.0, {})


def test_shards_made_one_by_one_in_any_order_are_the_same(manifest, folder, tmp_path):
    write(manifest, folder)
    for shard in (2, 0, 1):
        assert write(manifest, tmp_path / "train.again", shards=[shard]) == 1
    assert contents(tmp_path / "train.again") == contents(folder)


def test_progress_is_told_for_done_and_skipped_rows(manifest, folder):
    told = []
    write_labels(manifest, folder, Teacher().labeller(), 3, [1], 0, told.append)
    assert told == [320, 12_800]
    told.clear()
    write_labels(manifest, folder, Teacher().labeller(), 3, range(3), 0, told.append)
    assert told == [3200, 6401, 13_120, 960, 321, 4000]


# Rerunning.


def test_a_rerun_does_nothing(manifest, folder):
    write(manifest, folder)
    before, times = contents(folder), {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    teacher = Teacher()
    assert write(manifest, folder, by=teacher) == 0 and teacher.rows == []
    assert contents(folder) == before and {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


@pytest.mark.parametrize("suffixes", [[".npy", ".json"], [".json"], [".npy"]])
def test_a_missing_shard_alone_is_made_again_byte_for_byte(manifest, folder, suffixes):
    """Of a half-deleted one, too: a refusal that says to delete the array means the array."""
    write(manifest, folder)
    before = contents(folder)
    for suffix in suffixes:
        shard_path(folder, 1, 3).with_suffix(suffix).unlink()
    teacher = Teacher()
    assert write(manifest, folder, by=teacher) == 1 and teacher.rows == [2, 3]
    assert contents(folder) == before


def test_a_truncated_shard_is_refused_until_it_is_deleted(manifest, folder):
    write(manifest, folder)
    path = shard_path(folder, 1, 3)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MertError, match="shard-00001-of-00003.npy: truncated .*; delete it and run `mert labels` again"):
        write(manifest, folder)
    path.unlink()
    assert write(manifest, folder) == 1 and check_store(folder, manifest).faults == []


@pytest.mark.parametrize(
    "key, change",
    [
        ("teacher", {"teacher": "another"}),
        ("weights_sha256", {"weights_sha256": "ab" * 32}),
        ("settings", {"settings": {"gain": 0.6}}),
        ("num_classes", {"num_classes": [1000, 17]}),
        ("kind", {"kind": "cqt", "num_classes": None}),
    ],
)
def test_the_store_of_another_teacher_is_refused(manifest, folder, key, change):
    write(manifest, folder)
    before = contents(folder)
    teacher = Teacher()
    with pytest.raises(MertError) as caught:
        write(manifest, folder, by=teacher, **change)
    path = shard_path(folder, 0, 3)
    assert str(caught.value) == f"{path}: present, but its {key} is another; delete {folder} or write to another --name"
    assert teacher.rows == [] and contents(folder) == before


def test_the_store_of_another_manifest_is_refused(corpus, manifest, folder):
    write(manifest, folder)
    with pytest.raises(MertError, match="shard-00002-of-00003.npy: present, but its manifest_sha256 is another; delete"):
        write(corpus.manifest(LENGTHS[:-1] + (4001,)), folder)


@pytest.mark.parametrize("num_shards", [1, 2, 7])
def test_another_division_is_refused_before_the_work(manifest, folder, num_shards):
    write(manifest, folder, shards=[0, 1])
    before, teacher = contents(folder), Teacher()
    with pytest.raises(MertError) as caught:
        write(manifest, folder, num_shards, by=teacher)
    mend = "give the same --nshard or delete the folder"
    assert str(caught.value) == f"{folder}: holds shard-00000-of-00003, --nshard {num_shards} given; {mend}"
    assert teacher.rows == [] and contents(folder) == before


def test_more_shards_than_rows(manifest, folder):
    with pytest.raises(MertError, match="shard 0 of 8: need 0 <= shard < nshard <= 7"):
        write(manifest, folder, num_shards=8)


def test_the_labeller_of_a_fitted_teacher(tmp_path, manifest, folder):
    teacher = RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=3, codebook_size=8))
    teacher.save(tmp_path / "teacher")
    labeller = encodec_labeller(str(tmp_path / "teacher"), None)
    assert (labeller.kind, labeller.teacher, labeller.width, labeller.num_classes) == ("codes", "rvqvae", 3, [8, 8, 8])
    assert labeller.settings["codebook_size"] == 8 and labeller.weights_sha256 == teacher.weights_hash
    assert labeller.settings == json.loads(json.dumps(labeller.settings))  # compared with what was read back
    assert write_labels(manifest, folder, labeller, 2, range(2)) == 2
    assert TargetStore(folder, manifest, "codes", 75.0).num_frames.tolist() == [10, 21, 1, 40, 3, 2, 13]
    assert write_labels(manifest, folder, labeller, 2, range(2)) == 0


# Codes, whatever the division; and the compact CQT.


def test_codes_do_not_depend_on_order_batch_or_division(corpus, teacher_folder, tmp_path):
    lengths = [24_000 * 43, 5000, 24_000 * 33 + 123, 24_000 * 9, 320]
    manifest = corpus.manifest(lengths, audio=True)
    for row, length in enumerate(lengths):
        soundfile.write(corpus.audio / f"train{row}.wav", noise(length, row), 24_000, subtype="FLOAT")
    backwards = tmp_path / "backwards.tsv"
    write_manifest(backwards, corpus.audio, [(f"train{row}.wav", lengths[row]) for row in reversed(range(5))])
    labeller = encodec_labeller(str(teacher_folder))
    for division in (1, 5):
        write_labels(manifest, tmp_path / f"train.{division}", labeller, division, range(division))
    write_labels(read_manifest(backwards), tmp_path / "train.back", labeller, 2, range(2))
    stores = [TargetStore(tmp_path / f"train.{division}", manifest, "codes", 75.0) for division in (1, 5)]
    stores.append(TargetStore(tmp_path / "train.back", read_manifest(backwards), "codes", 75.0))
    for row, length in enumerate(lengths):
        one, five, back = (store.read(place, 0, num_code_frames(length)) for store, place in zip(stores, (row, row, 4 - row)))
        np.testing.assert_array_equal(one, five)
        np.testing.assert_array_equal(one, back)
        assert length < 24_000 or len(np.unique(one)) > 2  # they could differ


def test_the_windows_of_the_longest_track_are_compared_with_a_whole_pass(corpus, folder, teacher_folder):
    manifest = corpus.manifest([320, 24_000 * 21, 5000], audio=True)
    write_labels(manifest, folder, encodec_labeller(str(teacher_folder)), 1, [0])
    measured = read_info(shard_path(folder, 0, 1)).notes["windows_against_whole_file"]
    assert measured["row"] == 1 and measured["frames"] == 750 and 0 <= measured["share_of_codes"] < 0.005


def test_cqt_as_bytes_is_half_the_size_and_close(corpus, tmp_path):
    manifest = corpus.manifest([24_000 * 3, 12_000], audio=True)
    for dtype in ("float16", "uint8"):
        write_labels(manifest, tmp_path / f"train.{dtype}", cqt_labeller(dtype), 1, [0])
    half, bytes_ = (TargetStore(tmp_path / f"train.{dtype}", manifest, "cqt", 75.0) for dtype in ("float16", "uint8"))
    exact, compact = half.read(0, 0, 226).astype(np.float32), bytes_.read(0, 0, 226)
    error = np.linalg.norm(compact - exact) / np.linalg.norm(exact)
    info = read_info(bytes_.paths[0])
    assert compact.dtype == np.float32 and error < 0.02 and info.notes["relative_error"] < 0.02
    assert info.dtype == np.uint8 and np.load(bytes_.paths[0]).nbytes * 2 == np.load(half.paths[0]).nbytes
    np.testing.assert_allclose(np.concatenate(list(bytes_.blocks(100)))[:226], compact)
    assert check_store(tmp_path / "train.uint8", manifest).faults == []
    with pytest.raises(MertError, match="present, but its settings is another"):
        write_labels(manifest, tmp_path / "train.uint8", cqt_labeller(), 1, [0])
