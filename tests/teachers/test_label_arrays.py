"""Labels of other programs as arrays: one flat array of all files, or one array per file."""

import re

import numpy as np
import pytest
from imported_labels import assert_holds, do_import, refusal

from mert_fairseq.data.shard import read_info, shard_path
from mert_fairseq.teachers.label_arrays import FolderLabels
from mert_fairseq.teachers.label_files import LabelFiles

# Flat arrays.


@pytest.mark.parametrize("num_shards", [1, 3])
def test_flat_arrays(corpus, manifest, source, columns, num_shards):
    for k in (0, 1):
        np.save(source / f"train.e_{k}.npy", np.concatenate([row[:, k] for row in columns]))
    folder, _ = do_import(corpus, manifest, LabelFiles(source, "train", ["e_0", "e_1"], manifest, [40, 7]), num_shards)
    assert_holds(folder, manifest, columns)


@pytest.mark.parametrize(
    "array, said",
    [
        (np.zeros(89, int), "89 codes, the manifest's 7 rows need exactly 90, so its rows cannot be told apart; import text labels or"),
        (np.zeros(91, int), "91 codes, the manifest's 7 rows need exactly 90"),
        (np.zeros((90, 1), int), "shape (90, 1), one flat array [frames] needed"),
        (np.zeros(90), "holds float64, whole numbers allowed; save plain arrays"),
        (np.array([np.zeros(3, int), np.zeros(2, int)], dtype=object), "not a plain array, or damaged ("),
    ],
)
def test_wrong_flat_arrays_are_refused(manifest, source, array, said):
    np.save(source / "train.e_0.npy", array, allow_pickle=True)
    assert refusal(LabelFiles, source, "train", ["e_0"], manifest).startswith(f"{source}/train.e_0.npy: {said}")


@pytest.mark.parametrize("code", [-1, 16])
def test_a_code_outside_its_codebook_is_refused(corpus, manifest, source, code):
    flat = np.zeros(90, np.int32)
    flat[33] = code  # row 3 has frames 32 to 71
    np.save(source / "train.e_0.npy", flat)
    said = refusal(do_import, corpus, manifest, LabelFiles(source, "train", ["e_0"], manifest, [16]))
    assert said == f"{source}/train.e_0.npy: row 3: code {code} of codebook 0; 0 to 15 allowed by --num-classes 16"


# One array per file.


@pytest.mark.parametrize("time_first", [True, False])
def test_arrays_of_files(corpus, manifest, source, columns, time_first):
    """Row 5 has two frames of two codebooks: its axes cannot tell, the other files' do."""
    for row, codes in enumerate(columns):
        np.save(source / f"train{row}.npy", (codes if time_first else codes.T).astype(np.int16))
    labels = FolderLabels(source, manifest, [40, 7], 75.0)
    folder, _ = do_import(corpus, manifest, labels, 3)
    store = assert_holds(folder, manifest, columns)
    assert store.num_classes == [40, 7]
    settings = {"layout": "one array per file", "source": str(source), "label_rate": 75.0}
    assert read_info(shard_path(folder, 0, 3)).settings == settings


@pytest.mark.parametrize("axis", [0, 1, None])
def test_arrays_of_one_codebook(corpus, manifest, source, columns, axis):
    for row, codes in enumerate(columns):
        np.save(source / f"train{row}.npy", codes[:, 0] if axis is None else np.expand_dims(codes[:, 0], axis))
    folder, _ = do_import(corpus, manifest, FolderLabels(source, manifest, [64], 75.0))
    assert_holds(folder, manifest, [row[:, :1] for row in columns])


def test_missing_and_empty_files_are_rows_without_codes(corpus, manifest, source, columns):
    for row in (0, 1, 2, 4, 6):
        np.save(source / f"train{row}.npy", columns[row])
    np.save(source / "train3.npy", columns[3][:0])
    labels = FolderLabels(source, manifest, [64], 75.0)
    said = refusal(do_import, corpus, manifest, labels)
    assert said.startswith("2 rows without codes (0 in the whole store allowed by --allow-bad): row 3: ")
    folder, _ = do_import(corpus, manifest, labels, allow_bad=2)
    columns[3], columns[5] = columns[3][:0], columns[5][:0]
    assert_holds(folder, manifest, columns)
    assert sorted(read_info(shard_path(folder, 0, 1)).notes["bad_rows"]) == ["3", "5"]


@pytest.mark.parametrize(
    "array, said",
    [
        (np.zeros((40, 3), int), r"3 codebooks, other files have 2; make all files with one setting and axis 0 as time"),
        (np.zeros((1, 40, 2), int), r"shape \(1, 40, 2\), \[frames, codebooks\] or \[codebooks, frames\] needed"),
        (np.full((40, 2), 64), r"code 64 of codebook 0; 0 to 63 allowed"),
        (np.zeros((37, 2), int), r"row 3 \(train3.wav\) has 37 frames, its 12800 samples need 40 to 41 at 75 Hz"),
    ],
)
def test_wrong_arrays_of_files_are_refused(corpus, manifest, source, columns, array, said):
    for row, codes in enumerate(columns):
        np.save(source / f"train{row}.npy", array if row == 3 else codes)
    said_by_it = refusal(do_import, corpus, manifest, FolderLabels(source, manifest, [64], 75.0))
    assert re.match(f"{source}/train3.npy: {said}", said_by_it)


def test_a_folder_without_the_files_is_refused(manifest, source):
    assert "which axis is time, no file of its rows is there; check SOURCE_DIR" in refusal(FolderLabels, source, manifest, [64], 75.0)
    np.save(source / "train3.npy", np.zeros((8, 90), int))
    said = refusal(FolderLabels, source, manifest, [64], 75.0)
    assert f"e.g. {source}/train3.npy has shape (8, 90), its audio 40 to 40 frames at 75 Hz" in said
    np.save(source / "train3.npy", np.zeros((8, 40), int))
    assert "--num-classes has 2 numbers, " in refusal(FolderLabels, source, manifest, [64, 64], 75.0)
    assert "1 to 65536 allowed" in refusal(FolderLabels, source, manifest, [1 << 17], 75.0)
