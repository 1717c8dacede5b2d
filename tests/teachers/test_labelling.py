"""From recordings to stores with made-up teachers: reruns, damaged files, other teachers, and the check of a whole store."""

import json
import logging
import weakref

import numpy as np
import pytest
import soundfile
import torch

from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.shard import read_info, shard_path, write_shard
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.frames import num_code_frames
from mert_fairseq.teachers.labeller import Labeller, cqt_labeller, encodec_labeller
from mert_fairseq.teachers.labelling import write_labels
from mert_fairseq.teachers.residual_kmeans import fit_codebooks
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings
from mert_fairseq.teachers.rvqvae_fit import reinitialise
from mert_fairseq.teachers.store_check import check_store, repair_store

LENGTHS = (3200, 6401, 320, 12_800, 960, 321, 4000)


class Teacher:
    """Codes (frame, row) of a made-up recording, told from its first sample; counts what it was asked for."""

    def __init__(self):
        self.rows, self.given = [], []

    def label(self, wave):
        if len(wave) == 0:  # a damaged file
            return np.zeros((0, 2))
        row, start = divmod(round(float(wave[0]) * 2**24), 2**20)
        assert start == 0 and len(wave) == LENGTHS[row]  # the whole recording
        assert all(array() is None for array in self.given[:-1])  # only the row before is still in memory
        frames = np.arange(num_code_frames(len(wave)))
        codes = np.stack([frames, np.full_like(frames, row)], axis=1)
        self.rows.append(row)
        self.given.append(weakref.ref(codes))
        return codes

    def labeller(self, **changes):
        values = dict(kind="codes", teacher="maker", width=2, label_tracks=lambda waves: map(self.label, waves))
        values |= dict(num_classes=[1000, 16], settings={"gain": 0.5})
        return Labeller(**{**values, **changes})


@pytest.fixture
def manifest(corpus):
    return corpus.manifest(LENGTHS, audio=True)


@pytest.fixture
def folder(corpus):
    return corpus.labels / "train.codes"


def write(manifest, folder, num_shards=3, shards=None, by=None, allow_bad=0, **changes):
    shards = range(num_shards) if shards is None else shards
    return write_labels(manifest, folder, (by or Teacher()).labeller(**changes), num_shards, shards, allow_bad)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def damage(corpus, *rows):
    for row in rows:
        (corpus.audio / f"train{row}.wav").write_bytes(b"no audio")


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


# Damaged files.


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


# The check of a whole store.


def only_fault(folder, manifest):
    result = check_store(folder, manifest)
    assert len(result.faults) == 1 and "\n" not in result.faults[0]
    return result.faults[0]


@pytest.mark.parametrize("kind", ["codes", "cqt"])
def test_a_sound_store(corpus, kind):
    manifest = corpus.manifest([24_000 * 36] * 2)  # 72 s: 0.02 h
    result = check_store(corpus.store(manifest, [np.zeros((2700, 2 if kind == "codes" else 3))] * 2, kind=kind), manifest)
    assert result.faults == [] and result.frames == 5400 and result.broken == []


@pytest.mark.parametrize("kind", ["codes", "cqt"])
@pytest.mark.parametrize("shard", [0, 2])
def test_a_flipped_bit_is_found(corpus, manifest, kind, shard):
    folder = corpus.store(manifest, kind=kind, num_shards=3)
    path = shard_path(folder, shard, 3)
    content = bytearray(path.read_bytes())
    content[-2 if kind == "codes" else -6] ^= 1  # in the last frame; a code that stays in range, a number that stays finite
    path.write_bytes(content)
    assert TargetStore(folder, manifest, kind, 75.0).width  # opens: training does not read every byte
    assert only_fault(folder, manifest) == (
        f"{path}: its bytes changed since it was written (sha256 differs); delete it and run `mert labels` again"
    )


def test_a_truncated_shard_is_found(corpus, manifest):
    path = shard_path(corpus.store(manifest, num_shards=3), 1, 3)
    path.write_bytes(path.read_bytes()[:-1])
    assert only_fault(path.parent, manifest).startswith(f"{path}: truncated or damaged")


def test_a_code_out_of_range_is_found(corpus, manifest):
    arrays = [corpus.codes(row, length) for row, length in enumerate(LENGTHS)]
    arrays[4][2, 1] = 16
    folder = corpus.store(manifest, arrays, num_shards=3)
    assert only_fault(folder, manifest).startswith(f"{shard_path(folder, 2, 3)}: a code is not below [1000, 16]; delete it")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_a_cqt_that_is_not_finite_is_found(corpus, manifest, value):
    """1e6 is infinite as float16."""
    arrays = [corpus.cqt(row, length) for row, length in enumerate(LENGTHS)]
    arrays[3][5, 1] = value
    with np.errstate(over="ignore"):
        folder = corpus.store(manifest, arrays, kind="cqt", num_shards=3)
    assert only_fault(folder, manifest).startswith(f"{shard_path(folder, 1, 3)}: values that are not finite; delete it")


def test_a_missing_shard_is_found(corpus, manifest):
    path = shard_path(corpus.store(manifest, num_shards=3), 1, 3)
    path.with_suffix(".json").unlink()
    assert only_fault(path.parent, manifest).startswith(f"{path.with_suffix('.json')}: missing; make the shard")


def test_another_manifest_is_found(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    assert "it belongs to another manifest" in only_fault(folder, corpus.manifest(LENGTHS[:-1] + (4001,)))


def test_a_missing_store_is_found(corpus, manifest, tmp_path):
    assert only_fault(tmp_path / "train.none", manifest).startswith(f"{tmp_path / 'train.none'}: no such folder of targets")


def test_all_faults_of_a_store_are_listed(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    shard_path(folder, 0, 3).write_bytes(b"")
    shard_path(folder, 2, 3).unlink()
    result = check_store(folder, manifest)
    assert [fault.split(": ")[0] for fault in result.faults] == [str(shard_path(folder, shard, 3)) for shard in (0, 2)]
    assert result.broken == [0, 2]


def test_a_store_larger_than_one_block(corpus, monkeypatch):
    """Faults behind the first block count as well."""
    monkeypatch.setattr("mert_fairseq.teachers.store_check.BLOCK", 4)
    manifest = corpus.manifest([3200])
    codes = corpus.codes(0, 3200)
    assert check_store(corpus.store(manifest, [codes]), manifest).faults == []
    codes[9, 1] = 16
    assert "a code is not below" in only_fault(corpus.store(manifest, [codes]), manifest)


def test_the_shard_of_another_teacher_is_found(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    info = corpus.info(manifest, 1, 3, weights_sha256="cd" * 32)
    write_shard(shard_path(folder, 1, 3), info, [corpus.codes(row, LENGTHS[row]) for row in range(*info.rows)])
    assert only_fault(folder, manifest).startswith(f"{shard_path(folder, 1, 3)}: teacher, settings or weights differ from most")


# Repair.


@pytest.fixture
def teacher_folder(tmp_path):
    """Not trained, but with codebooks fitted to its latents of noise, so that codes vary."""
    torch.manual_seed(0)
    teacher, generator = RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=3, codebook_size=8)), torch.Generator()
    reinitialise(teacher, generator)
    with torch.no_grad():
        latents = teacher.latents(torch.from_numpy(noise(240_000, 0))[None])[0].T
    teacher.codebooks.copy_(fit_codebooks(latents, 3, 8, 3, generator))
    teacher.save(tmp_path / "teacher")
    return tmp_path / "teacher"


def noise(num_samples, seed):
    """Of a loudness that changes ten times a second."""
    random = np.random.default_rng(seed)
    loudness = np.repeat(random.random(num_samples // 2400 + 1, np.float32), 2400)[:num_samples]
    return 0.3 * loudness * random.standard_normal(num_samples, np.float32)


def test_repair_makes_the_broken_shards_again_and_no_others(manifest, folder, teacher_folder, monkeypatch, tmp_path):
    write_labels(manifest, folder, encodec_labeller(str(teacher_folder)), 4, range(4))
    before, times = contents(folder), {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    shard_path(folder, 0, 4).write_bytes(b"")
    shard_path(folder, 2, 4).with_suffix(".json").write_text("{")
    monkeypatch.chdir(tmp_path)  # the weights are found from anywhere
    assert repair_store(folder, manifest, check_store(folder, manifest)) == 2
    assert contents(folder) == before
    changed = {path.name[:11] for path in folder.iterdir() if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {"shard-00000", "shard-00002"}


def test_repair_with_other_weights_is_refused_before_anything_is_deleted(manifest, folder, teacher_folder):
    write_labels(manifest, folder, encodec_labeller(str(teacher_folder)), 2, range(2))
    other = RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=3, codebook_size=8))
    other.save(teacher_folder)
    shard_path(folder, 0, 2).write_bytes(b"x")
    before = contents(folder)
    with pytest.raises(MertError, match="its weights are not those of the other shards"):
        repair_store(folder, manifest, check_store(folder, manifest))
    assert contents(folder) == before


def test_a_store_that_does_not_say_what_made_it_cannot_be_repaired(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    shard_path(folder, 1, 3).unlink()
    before = contents(folder)
    with pytest.raises(MertError, match="made by another program"):
        repair_store(folder, manifest, check_store(folder, manifest))
    assert contents(folder) == before


def test_a_store_of_another_manifest_is_not_repaired_away(corpus, manifest, folder, teacher_folder):
    write_labels(manifest, folder, encodec_labeller(str(teacher_folder)), 2, range(2))
    before = contents(folder)
    other = corpus.manifest(LENGTHS + (640,))
    with pytest.raises(MertError, match="belong to another manifest"):
        repair_store(folder, other, check_store(folder, other))
    assert contents(folder) == before


def test_a_file_of_another_length_than_its_row_is_a_damaged_one(corpus, manifest, folder):
    soundfile.write(corpus.audio / "train2.wav", np.zeros(500, np.float32), 24_000)
    with pytest.raises(MertError, match="row 2: .*train2.wav: 500 samples, its row says 320; .*run `mert manifest` again"):
        write(manifest, folder)


def test_frames_that_do_not_cover_the_audio_are_found(corpus, manifest):
    arrays = [corpus.codes(row, length) for row, length in enumerate(LENGTHS)]
    arrays[4] = arrays[4][:-1]
    assert "row 4 has 2 frames, its audio needs 3" in only_fault(corpus.store(manifest, arrays, num_shards=3), manifest)


def test_allowed_files_are_counted_over_the_whole_store(corpus, manifest, folder):
    damage(corpus, 1, 5)
    assert write(manifest, folder, shards=[0], allow_bad=1) == 1
    for _ in range(2):  # the same command again does not allow one more
        with pytest.raises(MertError, match="1 damaged files .1 in the whole store allowed"):
            write(manifest, folder, shards=[2], allow_bad=1)
    assert write(manifest, folder, shards=[2], allow_bad=2) == 1


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
