"""`mert labels import`: splits, shards and refusals as the command line gives them."""

import argparse

import numpy as np
import pytest

from mert_fairseq.cli import labels_import
from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError

LENGTHS = {"train": (3200, 960, 4000), "valid": (6400, 320)}


@pytest.fixture
def source(corpus, tmp_path):
    """Manifests of both splits and their labels e_0 and e_1: (frame, row)."""
    folder = tmp_path / "source"
    folder.mkdir()
    for split, lengths in LENGTHS.items():
        corpus.manifest(lengths, split)
        for codebook in (0, 1):
            rows = [corpus.codes(row, length)[:, codebook] for row, length in enumerate(lengths)]
            (folder / f"{split}.e_{codebook}").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    return folder


@pytest.fixture
def run(corpus, source, capsys):
    """run(arguments...) -> lines printed."""

    def run(*arguments, labels=("--labels", "e_0", "e_1")):
        parser = argparse.ArgumentParser()
        labels_import.add_parser(parser.add_subparsers())
        places = ["import", corpus.manifests, source, corpus.labels, "--name", "it", *labels]
        args = parser.parse_args([str(argument) for argument in [*places, *arguments]])
        assert args.run(args) == 0
        return capsys.readouterr().out.splitlines()

    return run


def store(corpus, split, rate=75.0):
    return TargetStore(corpus.labels / f"{split}.it", read_manifest(corpus.manifests / f"{split}.tsv"), "codes", rate)


def test_both_splits(corpus, run):
    told = "1 shards written, 0 were there; 2 wide of 1024 entries, 0.00 h"
    assert run() == [f"{corpus.labels}/{split}.it: {told}" for split in ("train", "valid")]
    for split, lengths in LENGTHS.items():
        found = store(corpus, split)
        for row, length in enumerate(lengths):
            np.testing.assert_array_equal(found.read(row, 0, int(found.num_frames[row])), corpus.codes(row, length))
    told = "0 shards written, 1 were there; 2 wide of 1024 entries, 0.00 h"
    assert run("--splits", "valid") == [f"{corpus.labels}/valid.it: {told}"]


def test_shards_one_at_a_time(corpus, run):
    for shard in (2, 0, 1):
        told = "1 shards written, 0 were there; 2 wide of 10/64 entries, 0.00 h"
        arguments = ["--splits", "train", "--nshard", 3, "--shard", shard, "--num-classes", 64, 10]
        assert run(*arguments) == [f"{corpus.labels}/train.it: {told}"]
    assert store(corpus, "train").num_frames.tolist() == [10, 3, 13]


def test_arrays_of_files(corpus, source, run):
    for split, lengths in LENGTHS.items():
        for row, length in enumerate(lengths):
            np.save(source / f"{split}{row}.npy", corpus.codes(row, length).T)
    lines = run("--num-classes", 64, labels=["--npy-dir"])
    assert lines[1] == f"{corpus.labels}/valid.it: 1 shards written, 0 were there; 2 wide of 64 entries, 0.00 h"
    assert store(corpus, "valid").num_frames.tolist() == [20, 1]


def test_what_is_out_of_the_ordinary_is_said(corpus, source, run):
    lines = (source / "train.e_0").read_text().splitlines()
    (source / "train.km").write_text("\n".join(["", *lines[1:2], lines[2].rsplit(" ", 2)[0]]))
    said = "1 rows without codes; 1 rows one frame short, their last frame repeated"
    (line,) = run("--splits", "train", "--allow-bad", 1, labels=["--labels", "km"])
    assert line.endswith(f"; 1 wide of 1024 entries, 0.00 h; {said}")
    assert store(corpus, "train").num_frames.tolist() == [0, 3, 12]


def test_another_rate(corpus, source, run):
    (source / "valid.km").write_text("1 1 1 1 1 1 1 1 1 1\n2\n")
    (line,) = run("--splits", "valid", "--label-rate", 37.5, labels=["--labels", "km"])
    assert line.endswith("; 37.5 frames per second where training takes 75")
    assert store(corpus, "valid", 37.5).num_frames.tolist() == [10, 1]


def test_a_dictionary_elsewhere(corpus, run, tmp_path):
    for codebook in (0, 1):
        (tmp_path / f"dict.e_{codebook}.txt").write_text("".join(f"{code} 1\n" for code in range(20)))
    (line, _) = run("--dict-dir", tmp_path)
    assert "2 wide of 20 entries" in line


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--nshard", 0], "--shard None --nshard 0: need nshard >= 1 and 0 <= shard < nshard"),
        (["--nshard", 2, "--shard", 2], "--shard 2 --nshard 2: need"),
        (["--nshard", 3], "--nshard 3: valid.tsv has 2 rows; give fewer shards, or --splits"),
        (["--allow-bad", -1], "--allow-bad -1: need allow-bad >= 0"),
        (["--label-rate", 0], "--label-rate 0: need 0 < label-rate <= 24000"),
        (["--label-rate", "nan"], "--label-rate nan: need"),
        (["--splits", "test"], "{manifests}/test.tsv: no such manifest"),
        (["--num-classes", 1, 2, 3], "--num-classes has 3 numbers, --labels 2; give one, or one for each label"),
        (["--num-classes", 65537], "--num-classes 65537: 1 to 65536 allowed"),
        (["--dict-dir", "nowhere"], "nowhere/dict.e_0.txt: dictionary cannot be read"),
        (["--label-rate", 50], "{source}/train.e_0: line 1: row 0 (train0.wav) has 10 frames, its 3200 samples need 6 to 8 at 50 Hz"),
    ],
)
def test_what_is_refused(corpus, source, run, arguments, said):
    with pytest.raises(MertError) as caught:
        run(*arguments)
    assert str(caught.value).startswith(said.format(manifests=corpus.manifests, source=source))


def test_dictionaries_and_arrays_do_not_go_together(run):
    with pytest.raises(MertError, match="^--dict-dir: arrays hold codes"):
        run("--dict-dir", "x", labels=["--npy-dir"])


def test_all_splits_are_looked_at_before_the_first_is_written(corpus, source, run):
    (source / "valid.e_1").unlink()
    with pytest.raises(MertError, match="valid.e_1: no such labels, nor valid.e_1.npy; found valid.e_0; check"):
        run()
    assert not corpus.labels.exists()


def test_a_folder_of_labels_that_is_not_there(corpus, source, run):
    for path in source.iterdir():
        path.unlink()
    source.rmdir()
    with pytest.raises(MertError, match="source: no such folder of labels; check SOURCE_DIR"):
        run()


@pytest.mark.parametrize("labels", [[], ["--labels"], ["--labels", "a", "--npy-dir"]])
def test_wrong_usage(run, labels, capsys):
    with pytest.raises(SystemExit) as leaving:
        run(labels=labels)
    assert leaving.value.code == 2
