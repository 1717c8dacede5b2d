"""The `mert` command in one process: exit codes, and one line on stderr for what the user can mend."""

import pytest

from mert_fairseq.cli import report

pytestmark = pytest.mark.usefixtures("root_logger")


def test_help_reads_as_the_pipeline(mert):
    code, out, err = mert("--help")
    assert (code, err) == (0, [])
    stages = [line.split()[0] for line in out if line.startswith("    ") and line[4] != " "]
    assert stages == ["manifest", "teacher", "labels", "report", "export", "import", "features", "probe"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sing"],
        ["labels"],
        ["labels", "words", "m", "l"],
        ["labels", "cqt", "m"],
        ["labels", "cqt", "m", "l", "--shard", "one"],
        ["labels", "cqt", "m", "l", "--gain", "2"],
        ["teacher", "fit"],
        ["report"],
    ],
)
def test_wrong_usage_exits_with_2_and_says_how(mert, arguments):
    code, out, err = mert(*arguments)
    assert code == 2 and out == []
    assert err[0].startswith("usage: mert") and err[-1].startswith("mert") and ": error: " in err[-1]


CQT, FIT = ["labels", "cqt", "{manifests}", "{out}"], ["teacher", "fit", "rvqvae", "{manifests}", "{out}"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["labels", "cqt", "{nowhere}", "{out}"], "{nowhere}/train.tsv: no such manifest; write it with `mert manifest"),
        (["teacher", "fit", "rvqvae", "{nowhere}", "{out}"], "{nowhere}/train.tsv: no such manifest; write it with `mert"),
        (["labels", "check", "{manifests}", "{nowhere}"], "{nowhere}: no stores {{split}}.{{name}} in it; make them with"),
        (["labels", "check", "{manifests}", "{audio}"], "{audio}: no stores {{split}}.{{name}} in it; make them with"),
        ([*CQT, "--shard", "2", "--nshard", "2"], "--shard 2 --nshard 2: need nshard >= 1 and 0 <= shard < nshard"),
        ([*CQT, "--shard", "-1"], "--shard -1 --nshard 1: need nshard >= 1 and 0 <= shard < nshard"),
        ([*CQT, "--nshard", "0"], "--shard None --nshard 0: need nshard >= 1"),
        ([*CQT, "--nshard", "2"], "--nshard 2: train.tsv has 1 rows; give fewer shards, or --splits"),
        ([*CQT, "--splits", "train", "test"], "{manifests}/test.tsv: no such manifest"),
        ([*CQT, "--allow-bad", "-1"], "--allow-bad -1: need allow-bad >= 0"),
        ([*CQT, "--threads", "0"], "--threads 0: need threads >= 1"),
        ([*FIT, "--updates", "0"], "--updates 0 --threads None: need updates >= 1"),
        ([*FIT, "--updates", "1", "--threads", "0"], "--updates 1 --threads 0: need updates >= 1 and threads >= 1"),
        (["labels", "encodec", *CQT[2:], "--weights", "{nowhere}"], "no teacher weights in {nowhere} (looked for config"),
        (["report", "{nowhere}"], "{nowhere}/hydra_train.log: no such log; give the run folder of fairseq-hydra-train"),
        (["report", "{audio}"], "{audio}/hydra_train.log: no such log; give the run folder of fairseq-hydra-train"),
    ],
)
def test_a_fault_of_the_input_exits_with_1_and_one_line(mert, flacs, tmp_path, arguments, message):
    names = dict(nowhere=tmp_path / "nowhere", out=tmp_path / "out", manifests=flacs.manifests, audio=flacs.audio)
    code, out, err = mert(*(argument.format(**names) for argument in arguments))
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("mert: " + message.format(**names))
    assert not (tmp_path / "out").exists()  # nothing was begun


def test_an_interrupt_exits_with_130_and_one_line(mert, monkeypatch):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", interrupt)
    code, out, err = mert("report", "run")
    assert (code, out) == (130, [])
    assert err == ["mert: interrupted; nothing written is lost, give the same command to go on"]


def test_a_fault_of_the_program_is_not_hidden(mert, monkeypatch):
    def fail(args):
        raise ZeroDivisionError

    monkeypatch.setattr(report, "run", fail)
    with pytest.raises(ZeroDivisionError):
        mert("report", "run")
