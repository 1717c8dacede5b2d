"""Labels as other programs leave them, and what their import must give or refuse."""

import numpy as np
import pytest

from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.teachers.label_import import import_labels
from mert_fairseq.teachers.store_check import check_store


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
