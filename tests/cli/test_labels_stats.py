"""`mert labels stats`: the table on stdout, the picture beside the stores or elsewhere."""

import argparse
import sys

import pytest

from mert_fairseq.cli import labels_stats
from mert_fairseq.errors import MertError


@pytest.fixture
def run(corpus, capsys):
    """run(arguments...) -> lines on stdout, lines on stderr."""

    def run(*arguments):
        parser = argparse.ArgumentParser()
        labels_stats.add_parser(parser.add_subparsers())
        args = parser.parse_args(["stats", *(str(argument) for argument in arguments)])
        assert args.run(args) == 0
        output = capsys.readouterr()
        return output.out.splitlines(), output.err.splitlines()

    return run


@pytest.fixture
def stores(corpus):
    for split, lengths in (("train", (3200, 6400)), ("valid", (960,))):
        manifest = corpus.manifest(lengths, split)
        corpus.store(manifest, split=split)
        corpus.store(manifest, split=split, kind="cqt")
    return corpus.labels


def test_table_and_picture(corpus, stores, run):
    out, err = run(stores, corpus.manifests)
    assert err == []
    heads = [line.split(":")[0] for line in out if not line.startswith(" ")]
    assert heads == ["train.codes", "train.cqt", "valid.codes", "valid.cqt", "picture"]
    assert out[-1] == f"picture: {stores}/stats.png" and (stores / "stats.png").read_bytes().startswith(b"\x89PNG")
    again, _ = run(stores)  # neither the picture in the folder nor the missing manifest matters
    assert again == out


def test_a_sample_and_a_picture_elsewhere(stores, run, tmp_path):
    out, _ = run(stores, "--sample-hours", 10 / 75 / 3600, "--picture", tmp_path / "it.png")
    assert out[1] == "  figures from 10 frames, 0.00 h, spread over the store"
    assert (tmp_path / "it.png").is_file() and not (stores / "stats.png").exists()


def test_without_matplotlib_the_table_still_comes(stores, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    out, err = run(stores)
    assert err == ['mert: no matplotlib for the picture: pip install "mert-fairseq[demo]"']
    assert out[0].startswith("train.codes: codes by maker") and not any(line.startswith("picture") for line in out)


def test_stores_of_another_manifest_are_refused(corpus, stores, run):
    corpus.manifest((3200, 6400, 320))
    with pytest.raises(MertError, match="train.codes/.*: it belongs to another manifest"):
        run(stores, corpus.manifests)


@pytest.mark.parametrize("hours", ["0", "-1", "nan"])
def test_a_sample_of_nothing_is_refused(stores, run, hours):
    with pytest.raises(MertError, match=f"^--sample-hours {hours}: need more than 0$"):
        run(stores, "--sample-hours", hours)


def test_a_folder_without_stores_is_refused(corpus, run):
    with pytest.raises(MertError, match="no stores {split}.{name} in it; make them with `mert labels encodec`"):
        run(corpus.labels)
