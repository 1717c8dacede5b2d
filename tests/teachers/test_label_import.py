"""Labels of other programs: what the files say is what the store holds, and nothing that does not fit the manifest gets in."""

import hashlib
import json
import re

import numpy as np
import pytest

from mert_fairseq.data.shard import read_info, shard_path
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.frames import frame_span
from mert_fairseq.teachers import label_text
from mert_fairseq.teachers.label_arrays import FolderLabels
from mert_fairseq.teachers.label_files import LabelFiles
from mert_fairseq.teachers.label_import import import_labels
from mert_fairseq.teachers.label_text import TextLabels, plain_symbols, read_dictionary
from mert_fairseq.teachers.store_check import check_store

LENGTHS = (3200, 6401, 320, 12_800, 960, 321, 4000)  # 10, 21, 1, 40, 3, 2 and 13 frames with the last one padded


@pytest.fixture
def manifest(corpus):
    return corpus.manifest(LENGTHS)


@pytest.fixture
def source(tmp_path):
    """The folder of labels."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def columns(corpus):
    """Codes (frame, row) of every row, as the made-up corpus has them."""
    return [corpus.codes(row, length) for row, length in enumerate(LENGTHS)]


def write_text(path, rows):
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))


def write_columns(source, columns, labels=("e_0", "e_1")):
    for codebook, label in enumerate(labels):
        write_text(source / f"train.{label}", [row[:, codebook] for row in columns])


def do_import(corpus, manifest, labels, num_shards=1, shards=None, label_rate=75.0, allow_bad=0, **names):
    """The store written from a LabelFiles or FolderLabels."""
    folder = corpus.labels / "train.it"
    done = import_labels(manifest, folder, labels, label_rate, num_shards, shards or range(num_shards), allow_bad, **names)
    return folder, done


def refusal(function, *arguments, **names):
    with pytest.raises(MertError) as caught:
        function(*arguments, **names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_holds(folder, manifest, columns):
    store = TargetStore(folder, manifest, "codes", 75.0)
    assert store.num_frames.tolist() == [len(row) for row in columns]
    for row, codes in enumerate(columns):
        np.testing.assert_array_equal(store.read(row, 0, len(codes)), codes)
    assert check_store(folder, manifest).faults == []
    return store


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


# Frames and audio.


@pytest.mark.parametrize(
    "num_samples, rate, span",
    [(3200, 75.0, (10, 10)), (3201, 75.0, (10, 11)), (319, 75.0, (0, 1)), (24_000, 50.0, (50, 50)), (24_001, 12.5, (12, 13))],
)
def test_frames_of_audio(num_samples, rate, span):
    assert frame_span(num_samples, rate) == span
    assert [int(values[0]) for values in frame_span(np.array([num_samples]), rate)] == list(span)


@pytest.mark.parametrize("frames, held, short", [(20, 20, 0), (21, 21, 0), (22, 22, 0), (19, 20, 1)])
def test_lengths_that_cover_the_audio(corpus, manifest, source, columns, frames, held, short):
    """6401 samples are 20 whole frames and touch 21; one frame less is filled up with the last, as training wants 20."""
    columns[1] = np.arange(2 * frames).reshape(frames, 2)
    write_columns(source, columns)
    folder, done = do_import(corpus, manifest, LabelFiles(source, "train", ["e_0", "e_1"], manifest), 3)
    columns[1] = columns[1][np.minimum(np.arange(held), frames - 1)]
    assert_holds(folder, manifest, columns)
    assert done.num_short == short
    notes = [read_info(shard_path(folder, shard, 3)).notes for shard in range(3)]
    assert notes == [{"rows_one_frame_short": 1} if short else {}, {}, {}]


@pytest.mark.parametrize("frames", [18, 23])
def test_lengths_that_do_not_are_refused(corpus, manifest, source, columns, frames):
    columns[1] = np.zeros((frames, 2), int)
    write_columns(source, columns)
    said = refusal(do_import, corpus, manifest, LabelFiles(source, "train", ["e_0", "e_1"], manifest))
    needed = "its 6401 samples need 20 to 22 at 75 Hz; check --label-rate"
    assert said.startswith(f"{source}/train.e_0: line 2: row 1 (train1.wav) has {frames} frames, {needed}")
    assert not any((corpus.labels / "train.it").iterdir())


def test_another_rate_is_kept_as_the_stores_frame_rate(corpus, source):
    manifest = corpus.manifest((24_000, 48_000))
    write_text(source / "train.km", [[1] * 50, [2] * 100])
    folder, _ = do_import(corpus, manifest, LabelFiles(source, "train", ["km"], manifest), label_rate=50.0)
    assert TargetStore(folder, manifest, "codes", 50.0).num_frames.tolist() == [50, 100]
    assert "50.0 frames per second, the task's label_rate is 75.0" in refusal(TargetStore, folder, manifest, "codes", 75.0)


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


# Dictionaries.


def dictionary(source, text, name="dict.km.txt"):
    (source / name).write_text(text)
    return source / name


@pytest.mark.parametrize(
    "text, num_classes, codes, size",
    [
        ("2 9\n0 5\n4 1\n", None, {b"2": 2, b"0": 0, b"4": 4}, 5),  # numbers are the codes, whatever their order
        ("2 9\n0 5\n4 1\n", 8, {b"2": 2, b"0": 0, b"4": 4}, 8),  # entries that never occurred
        ("b 9\na 5\n7 1\n", None, {b"b": 0, b"a": 1, b"7": 2}, 3),  # words have the codes of their lines
        ("1 9\n0 5\nmadeupword0000 0\nmadeupword0001 0\n", None, {b"1": 1, b"0": 0}, 2),
        ("a b 9\n", None, {b"a b": 0}, 1),
        ("0 1 #fairseq:overwrite\n", None, {b"0": 0}, 1),
    ],
)
def test_dictionaries(source, text, num_classes, codes, size):
    symbols = read_dictionary(dictionary(source, text), num_classes)
    assert (symbols.codes, symbols.num_classes) == (codes, size)


@pytest.mark.parametrize(
    "text, num_classes, said",
    [
        ("", None, "a dictionary without symbols"),
        ("madeupword0000 0\n", None, "a dictionary without symbols"),
        ("0 1\n1\n", None, "line 2: '1' is not `symbol count`"),
        ("0 1\n1 x\n", None, "line 2: '1 x' is not `symbol count`"),
        ("0 1\n1 1\n0 2\n", None, "line 3: symbol '0' comes twice"),
        ("0 1\n9 1\n", 9, "10 classes, --num-classes 9 given; 10 to 65536 allowed"),
        ("0 1\n65536 1\n", None, "65537 classes, --num-classes None given"),
    ],
)
def test_wrong_dictionaries_are_refused(source, text, num_classes, said):
    path = dictionary(source, text)
    assert refusal(read_dictionary, path, num_classes).startswith(f"{path}: {said}")


def test_labels_by_dictionary(corpus, source):
    manifest = corpus.manifest((960, 640))
    (source / "train.km").write_text("b a b\na c\n")
    path = dictionary(source, "b 3\na 2\n")
    labels = LabelFiles(source, "train", ["km"], manifest)  # found beside the labels
    said = refusal(do_import, corpus, manifest, labels)
    assert said == f"{source}/train.km: line 2: 'c' is no code; only the 2 symbols of {path} allowed; is it the labels' dictionary?"
    path.write_text("b 3\na 2\nc 1\n")
    folder, _ = do_import(corpus, manifest, LabelFiles(source, "train", ["km"], manifest))
    store = assert_holds(folder, manifest, [np.array([[0], [1], [0]]), np.array([[1], [2]])])
    assert store.num_classes == [3]
    named = read_info(shard_path(folder, 0, 1)).settings["dictionaries_sha256"]
    assert named == {"km": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_folder_of_dictionaries_must_have_them(manifest, source, columns):
    write_columns(source, columns)
    said = refusal(LabelFiles, source, "train", ["e_0"], manifest, [None], source)
    assert said.startswith(f"{source}/dict.e_0.txt: dictionary cannot be read (No such file")


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


def test_the_json_is_plain(corpus, manifest, source, columns):
    write_columns(source, columns)
    folder, _ = do_import(corpus, manifest, LabelFiles(source, "train", ["e_0"], manifest))
    assert json.loads((folder / "shard-00000-of-00001.json").read_text())["teacher"] == "imported"
