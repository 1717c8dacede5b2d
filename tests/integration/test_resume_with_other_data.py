"""A run whose manifest or targets were made anew between two starts says so, and trains nothing until it is told what to do."""

import shutil

import pytest
import training_runs as runs

from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.target_store import store_folder
from mert_fairseq.report.run_log import read_run_log
from mert_fairseq.teachers.labeller import Labeller, cqt_labeller
from mert_fairseq.teachers.labelling import write_labels

SETTINGS = ("dataset.num_workers=0", "checkpoint.save_interval_updates=2")
CODES = [runs.CODEBOOK_SIZE] * runs.NUM_CODEBOOKS


def make_targets(folder, teacher, num_shards=1):
    """The stores of the training split, anew."""
    manifest = read_manifest(folder / "manifest" / "train.tsv")
    codes = Labeller("codes", teacher, len(CODES), lambda waves: map(runs.energy_codes, waves), CODES)
    labellers = {"encodec": codes, "cqt": cqt_labeller()}
    for name, labeller in labellers.items():
        shutil.rmtree(store_folder(folder / "labels", "train", name))
        write_labels(manifest, store_folder(folder / "labels", "train", name), labeller, num_shards, range(num_shards))


def rewrite_manifest(folder, split, most=None):
    manifest = read_manifest(folder / "manifest" / f"{split}.tsv")
    rows = [(manifest.relative_path(row), int(manifest.num_samples[row])) for row in range(most or len(manifest))]
    write_manifest(folder / "manifest" / f"{split}.tsv", folder / "audio", rows)


def leave_files_out(folder):
    rewrite_manifest(folder, "train", most=3)
    make_targets(folder, "energy")


@pytest.fixture
def begun(tmp_path):
    """A corpus, and a run on it of four updates."""
    corpus = runs.build_corpus(tmp_path / "corpus")
    go_on(corpus, tmp_path / "run", 4)
    return corpus, tmp_path / "run"


def go_on(corpus, run_dir, update, *overrides):
    result = runs.train(corpus, run_dir, *SETTINGS, f"optimization.max_update={update}", *overrides)
    assert result.returncode == 0, result.stderr[-2000:]
    assert max(read_run_log(run_dir).train) == update


@pytest.mark.parametrize(
    "change,named",
    [
        (leave_files_out, "train.tsv holds other rows"),
        (lambda corpus: make_targets(corpus, "loudness"), "encodec: codes of another teacher"),
    ],
    ids=["rows", "teacher"],
)
def test_other_data(begun, change, named):
    corpus, run_dir = begun
    change(corpus)
    refused = runs.train(corpus, run_dir, *SETTINGS, "optimization.max_update=6")
    assert refused.returncode == 1 and named in refused.stderr and "Traceback" not in refused.stderr
    assert max(read_run_log(run_dir).train) == 4
    go_on(corpus, run_dir, 6, "task.accept_new_data=true")
    go_on(corpus, run_dir, 8)  # what was accepted is the run's now


def test_an_epoch_begun_anew_takes_other_data(begun):
    corpus, run_dir = begun
    leave_files_out(corpus)
    go_on(corpus, run_dir, 6, "checkpoint.reset_dataloader=true")
    go_on(corpus, run_dir, 8)


def test_moved_folders_and_other_shards_are_no_other_data(begun, tmp_path):
    corpus, run_dir = begun
    make_targets(corpus, "energy", num_shards=3)
    moved = corpus.rename(tmp_path / "moved")
    for split in ("train", "valid"):
        rewrite_manifest(moved, split)
    go_on(moved, run_dir, 6)
