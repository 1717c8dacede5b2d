"""Labels of other programs: what the files say is what the store holds, and nothing that does not fit the manifest gets in."""

import hashlib
import json

import numpy as np
import pytest
from imported_labels import assert_holds, do_import, refusal, write_columns, write_text
from made_teacher import LENGTHS

from mert_fairseq.data.shard import read_info, shard_path
from mert_fairseq.teachers import label_text
from mert_fairseq.teachers.label_files import LabelFiles
from mert_fairseq.teachers.label_text import TextLabels, plain_symbols

# Text.


@pytest.mark.parametrize("num_shards", [1, 3, 7])
@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
def test_text_files_become_the_codebooks_of_one_store(corpus, manifest, source, columns, monkeypatch, num_shards, block_bytes):
    monkeypatch.setattr(label_text, "BLOCK_BYTES", block_bytes)
    write_columns(source, columns)
    labels = LabelFiles(source, "train", ["e_0", "e_1"], manifest, [1000, 16], num_shards=num_shards)
    folder, done = do_import(corpus, manifest, labels, num_shards)
    assert (done.written, done.num_bad, done.num_short) == (num_shards, 0, 0)
    store = assert_holds(folder, manifest, columns)
    assert (store.teacher, store.num_classes) == ("imported", [1000, 16])
    info = read_info(shard_path(folder, 0, num_shards))
    hashes = [hashlib.sha256((source / f"train.e_{k}").read_bytes()).hexdigest() for k in (0, 1)]
    named = {"labels": ["e_0", "e_1"], "sources_sha256": hashes, "dictionaries_sha256": {"e_0": None, "e_1": None}}
    assert (info.settings, info.notes, info.frame_rate) == ({**named, "label_rate": 75.0}, {}, 75.0)


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text.replace("\n", "\r\n"), lambda text: text.replace(" ", "  ")])
def test_line_ends_and_spaces_do_not_matter(corpus, manifest, source, columns, change):
    write_columns(source, columns, ["km"])
    path = source / "train.km"
    path.write_bytes(change(path.read_text()).encode())
    folder, _ = do_import(corpus, manifest, LabelFiles(source, "train", ["km"], manifest), 1)
    assert_holds(folder, manifest, [row[:, :1] for row in columns])


def test_rows_may_be_read_from_a_shard_on(manifest, source, columns):
    write_columns(source, columns)
    labels = TextLabels(source / "train.e_0", plain_symbols(64), 7, [0, 3, 5])
    for start, stop in ((3, 5), (5, 7), (0, 1), (4, 7), (7, 7)):  # the last two begin where no shard does
        assert [row.tolist() for row in labels.rows(start, stop)] == [row[:, 0].tolist() for row in columns[start:stop]]


@pytest.mark.parametrize("lines, found", [(6, "6 lines"), (8, "8 lines"), (0, "0 lines")])
def test_another_number_of_lines_is_refused(manifest, source, lines, found):
    write_text(source / "train.km", [[1]] * lines)
    said = refusal(LabelFiles, source, "train", ["km"], manifest)
    assert said.startswith(f"{source}/train.km: {found}, the manifest has 7 rows, one line each needed; give the manifest")


@pytest.mark.parametrize("word", ["16", "-1", "1.0", "x", "٣", "65536"])
def test_a_word_that_is_no_code_is_named_with_its_line(corpus, manifest, source, columns, word):
    write_columns(source, columns)
    path = source / "train.e_1"
    lines = path.read_text().splitlines()
    lines[4] = f"4 {word} 4"
    path.write_text("\n".join(lines) + "\n")
    labels = LabelFiles(source, "train", ["e_0", "e_1"], manifest, [1000, 16])
    said = refusal(do_import, corpus, manifest, labels)
    assert said == f"{path}: line 5: {word!r} is no code; 0 to 15 allowed by --num-classes 16"
    assert list((corpus.labels / "train.it").iterdir()) == []


def test_files_that_disagree_on_a_row_are_refused(corpus, manifest, source, columns):
    write_columns(source, columns)
    write_text(source / "train.e_1", [row[:, 1][: 39 if n == 3 else None] for n, row in enumerate(columns)])
    said = refusal(do_import, corpus, manifest, LabelFiles(source, "train", ["e_0", "e_1"], manifest, [64]))
    assert said.startswith(f"row 3 (line 4): 40 codes in {source}/train.e_0, 39 in {source}/train.e_1; the files must agree")


def test_missing_labels_are_refused_with_what_is_there(manifest, source):
    for number in range(7):
        (source / f"train.codec_{number}").touch()
    (source / "train.tsv").touch()
    said = refusal(LabelFiles, source, "train", ["encodec_0"], manifest)
    listed = ", ".join(f"train.codec_{number}" for number in range(5))
    assert said == (
        f"{source}/train.encodec_0: no such labels, nor train.encodec_0.npy; found {listed}, ...; check SOURCE_DIR, --labels and --splits"
    )
    assert "found nothing of valid;" in refusal(LabelFiles, source, "valid", ["encodec_0"], manifest)


def test_text_and_array_of_one_label_are_refused(manifest, source, columns):
    write_columns(source, columns)
    np.save(source / "train.e_0.npy", np.zeros(90, np.int64))
    said = refusal(LabelFiles, source, "train", ["e_0"], manifest)
    assert said == f"{source}/train.e_0 and train.e_0.npy are both there; remove one of them"


@pytest.mark.parametrize("sizes, said", [([4, 4, 4], "--num-classes has 3 numbers, --labels 2; give one"), ([0], "--num-classes 0: 1 to")])
def test_numbers_of_classes_that_do_not_suit(manifest, source, columns, sizes, said):
    write_columns(source, columns)
    assert refusal(LabelFiles, source, "train", ["e_0", "e_1"], manifest, sizes).startswith(said)


# Rows without codes.


def test_empty_lines_are_refused_or_noted(corpus, manifest, source, columns):
    for row in (2, 3, 6):
        columns[row] = columns[row][:0]
    write_columns(source, columns)
    labels = LabelFiles(source, "train", ["e_0", "e_1"], manifest, num_shards=3)
    said = refusal(do_import, corpus, manifest, labels, 3, allow_bad=2)
    place = f"{source}/train.e_0: line"
    rows = f"row 2: {place} 3: no codes; row 3: {place} 4: no codes; row 6: {place} 7: no codes"
    assert said == f"3 rows without codes (2 in the whole store allowed by --allow-bad): {rows}"
    # The first shards' two, written by now, count at the next run too.
    assert refusal(do_import, corpus, manifest, labels, 3, allow_bad=2).startswith("1 rows without codes (2 in the whole store")
    folder, done = do_import(corpus, manifest, labels, 3, allow_bad=3)
    # The first two shards have two empty rows and were written before.
    assert (done.written, done.num_bad) == (1, 1)
    assert_holds(folder, manifest, columns)
    notes = [read_info(shard_path(folder, shard, 3)).notes for shard in range(3)]
    assert notes[0] == {} and notes[1] == {"bad_rows": {"2": f"{place} 3: no codes", "3": f"{place} 4: no codes"}}
    assert notes[2] == {"bad_rows": {"6": f"{place} 7: no codes"}}


def test_many_empty_lines_are_counted_and_not_all_listed(corpus, manifest, source):
    write_text(source / "train.km", [[]] * 7)
    said = refusal(do_import, corpus, manifest, LabelFiles(source, "train", ["km"], manifest))
    assert said.startswith("7 rows without codes (0 in the whole store allowed by --allow-bad): row 0: ")
    assert said.endswith(f"; row 4: {source}/train.km: line 5: no codes; and 2 more, named above")


# Going on.


def test_complete_shards_are_skipped_and_other_sources_refused(corpus, manifest, source, columns):
    write_columns(source, columns)
    labels = LabelFiles(source, "train", ["e_0", "e_1"], manifest, num_shards=3)
    folder, done = do_import(corpus, manifest, labels, 3, shards=[1])
    assert done.written == 1
    before = shard_path(folder, 1, 3).stat().st_mtime_ns
    heard = []
    _, done = do_import(corpus, manifest, labels, 3, advance=heard.append)
    assert done.written == 2 and sum(heard) == sum(LENGTHS) and shard_path(folder, 1, 3).stat().st_mtime_ns == before
    write_text(source / "train.e_1", [row[:, 1] + 1 for row in columns])
    changed = LabelFiles(source, "train", ["e_0", "e_1"], manifest, num_shards=3)
    said = refusal(do_import, corpus, manifest, changed, 3)
    assert "present, but its settings is another" in said
    assert "--nshard 2 given" in refusal(do_import, corpus, manifest, changed, 2)


def test_what_stops_midway_leaves_complete_shards_only(corpus, manifest, source, columns):
    write_columns(source, columns)
    path = source / "train.e_0"
    path.write_text(path.read_text().replace(" 9\n", " x\n", 1).replace(" 12\n", " x\n"))  # rows 0 and 6
    labels = LabelFiles(source, "train", ["e_0", "e_1"], manifest, num_shards=7)
    refusal(do_import, corpus, manifest, labels, 7, shards=range(1, 7))
    names = sorted(path.name for path in (corpus.labels / "train.it").iterdir())
    assert names == [f"shard-{shard:05d}-of-00007.{end}" for shard in range(1, 6) for end in ("json", "npy")]


def test_the_json_is_plain(corpus, manifest, source, columns):
    write_columns(source, columns)
    folder, _ = do_import(corpus, manifest, LabelFiles(source, "train", ["e_0"], manifest))
    assert json.loads((folder / "shard-00000-of-00001.json").read_text())["teacher"] == "imported"
