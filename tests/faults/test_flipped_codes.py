"""A bit of a code flipped, so that another code of its codebook stands there: the command is told, whatever reads the shard."""

import pytest
import small_training
from outcomes import mert

from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.target_store import TargetStore


@pytest.fixture
def flipped(training_corpus):
    """A shard with such a bit; put back."""
    path = training_corpus / "labels" / "train.encodec" / "shard-00000-of-00001.npy"
    text = path.read_bytes()
    changed = bytearray(text)
    changed[len(text) // 2 & ~1] ^= 1  # the least bit of a code, at an even place behind a header of 128 bytes
    path.write_bytes(changed)
    yield path
    path.write_bytes(text)


@pytest.mark.parametrize("workers", [0, 2])
def test_under_training(faults, interpreter, training_corpus, flipped, tmp_path, workers):
    started = interpreter.run(*small_training.train(training_corpus, tmp_path / "run", f"dataset.num_workers={workers}"))
    told = [line for line in started.text.splitlines() if str(flipped) in line and "changed since it was written" in line]
    outcome = "refused" if started.code() == 1 and len(told) == 1 and "labels check" in told[0] else "silent"
    faults.record("shard: code flipped, fairseq-hydra-train", "traceback" if "Traceback" in started.text else outcome, started.text[-3000:])


def test_under_the_pictures_of_labels(faults, training_corpus, flipped):
    shown = mert("labels", "stats", training_corpus / "labels")
    outcome = shown.outcome if "changed since it was written" in shown.text else "silent"
    faults.record("shard: code flipped, `mert labels stats`", outcome, shown.text)


def test_it_is_a_code_of_the_codebook(training_corpus, flipped):
    """Else it would be refused for being none."""
    store = TargetStore(flipped.parent, read_manifest(training_corpus / "manifest" / "train.tsv"), "codes", 75.0)
    frames = store._arrays[0]._array
    assert (frames < store.num_classes).all()
