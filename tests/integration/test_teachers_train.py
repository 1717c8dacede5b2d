"""Labels of every clustering teacher, made by the commands, train the model: the loss falls and nothing is warned of."""

import shutil

import pytest
import training_runs as runs

from mert_fairseq.cli.main import main

FITS = {
    "kmeans": [["kmeans", "--features", "logmel", "--clusters", 24], ["kmeans", "--features", "chroma", "--clusters", 16]],
    "melrvq": [["melrvq", "--codebooks", 4, "--codebook-size", 32]],
    "encodec": [["rvqvae", "--updates", 20]],
}


def mert(*arguments) -> None:
    assert main([str(argument) for argument in arguments]) == 0


@pytest.mark.parametrize("kind", FITS)
def test_two_hundred_updates(kind, tmp_path):
    corpus = runs.build_corpus(tmp_path / "corpus")
    shutil.rmtree(corpus / "labels" / "train.encodec")  # of no command
    shutil.rmtree(corpus / "labels" / "valid.encodec")
    for number, fit in enumerate(FITS[kind]):
        budget = [] if kind == "encodec" else ["--frames", 3000]
        mert("teacher", "fit", fit[0], corpus / "manifest", tmp_path / f"teacher{number}", *fit[1:], *budget)
        mert("labels", kind, corpus / "manifest", corpus / "labels", "--weights", tmp_path / f"teacher{number}", "--nshard", 2)
    names = "[logmel_kmeans,chroma_kmeans]" if kind == "kmeans" else f"[{kind}]"
    settings = [f"task.labels={names}", "optimization.max_update=200", "dataset.validate_interval_updates=100", "dataset.num_workers=0"]
    result = runs.train(corpus, tmp_path / "run", *settings)
    assert result.returncode == 0, result.stderr[-2000:]
    log = (tmp_path / "run" / "hydra_train.log").read_text(encoding="utf-8")
    assert not [line for line in log.splitlines() if "[WARNING]" in line or "[ERROR]" in line]
    numbers = runs.logged_numbers(tmp_path / "run")
    first, last = numbers["train"][1], numbers["valid"][200]
    assert last["loss_codes_m"] < 0.95 * first["loss_codes_m"] and last["loss_cqt_m"] < first["loss_cqt_m"]
