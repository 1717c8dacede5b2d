"""Words and their classes by the dictionaries of other programs."""

import hashlib

import numpy as np
import pytest
from imported_labels import assert_holds, do_import, refusal, write_columns

from mert_fairseq.data.shard import read_info, shard_path
from mert_fairseq.teachers.label_files import LabelFiles
from mert_fairseq.teachers.label_text import read_dictionary


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
