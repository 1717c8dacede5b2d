"""Shards as jobs: command lines and settings."""

import argparse
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from test_site_values import SLURM

from mert_fairseq.cli.cluster import add_arguments, plain_command, settings_of, shard_command
from mert_fairseq.cli.main import build_parser
from mert_fairseq.cli.shard_run import ClusterSettings
from mert_fairseq.cli.site import DEFAULTS
from mert_fairseq.errors import MertError

PLACES = ["labels", "cqt", "m", "l"]


def parse(*arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("label_dir", nargs="?", default="labels")
    add_arguments(parser)
    return parser.parse_args(arguments)


# Command lines.


@pytest.mark.parametrize(
    "given, left",
    [
        ("labels cqt m l", None),
        ("labels cqt m l --slurm", "labels cqt m l"),
        ("labels cqt m l --slurm local", "labels cqt m l"),
        ("labels cqt m l --slurm=local", "labels cqt m l"),
        ("labels cqt --slurm local m l", "labels cqt m l"),
        ("labels cqt --slurm=slurm m l", "labels cqt m l"),
        ("labels cqt --slurm --nshard 4 m l", "labels cqt --nshard 4 m l"),
        ("labels cqt m l --sl local --job 3", None),  # ambiguous: --jobs-at-once, --job-logs
        ("labels cqt m l --sl local --jobs 3 --att=2 --si s --job-l d", "labels cqt m l"),
        ("labels cqt m l --slurm --jobs-at-once 3 --attempts=2 --site s --job-logs d", "labels cqt m l"),
        ("labels cqt m l --slurm --splits a b --allow-bad -1 --shard 2", "labels cqt m l --splits a b --allow-bad -1 --shard 2"),
        ("labels encodec m l --weights 'my teacher' --name slurm --slurm", "labels encodec m l --weights 'my teacher' --name slurm"),
        ("labels encodec --weights='my teacher' --slurm -- m l", "labels encodec --weights='my teacher' -- m l"),
        ("labels encodec --sh 1 --sp train --slurm local -- m l", "labels encodec --sh 1 --sp train -- m l"),
    ],
)
def test_the_plain_command_is_the_rest_in_order(given, left):
    if left is None and "--sl" in given:
        with pytest.raises(SystemExit):
            plain_command(shlex.split(given))
    else:
        assert plain_command(shlex.split(given)) == shlex.split(left or given)


@pytest.mark.parametrize("rest", [[], ["--nshard", "4", "--slurm=local"], ["--slurm", "--", "m", "l"]])
def test_the_command_of_a_shard_runs_in_this_interpreter(rest):
    places = PLACES[:2] if "--" in rest else PLACES
    command = shard_command([*places, *rest])(3)
    assert command[:3] == [sys.executable, "-m", "mert_fairseq.cli.main"] and "--slurm=local" not in command
    args = build_parser().parse_args(command[3:])
    assert (args.shard, args.manifest_dir, args.label_dir) == (3, "m", "l")


def test_no_option_of_labels_is_taken_for_one_of_the_cluster():
    """What one of the cluster's begins with would be seen as its abbreviation."""
    args = build_parser().parse_args(["labels", "encodec", "m", "l"])
    options = [f"--{name.replace('_', '-')}" for name in vars(args)]
    others = [option for option in options if option.replace("-", "_")[2:] not in vars(parse())]
    assert "--weights" in others and plain_command(others) == others


# Settings.


def test_without_slurm_nothing_is_asked_for():
    assert settings_of(parse()) is None


def test_what_is_asked_for(monkeypatch):
    assert settings_of(parse("--slurm", "local")) == ClusterSettings("local", Path("labels/logs"), 3, None, DEFAULTS)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    given = settings_of(parse("--slurm", "--site", str(SLURM / "site.sh"), "--jobs-at-once", "5", "--attempts", "1", "--job-logs", "d"))
    assert given == ClusterSettings("slurm", Path("d"), 1, 5, DEFAULTS)  # the file as it is shipped


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--jobs-at-once", "2"], "--jobs-at-once without --slurm; add --slurm for a cluster or --slurm local"),
        (["--site", "s", "--job-logs", "d"], "--site, --job-logs without --slurm"),
        (["--slurm", "local", "--attempts", "0"], "--attempts 0 --jobs-at-once None: need at least 1"),
        (["--slurm", "local", "--jobs-at-once", "0"], "--attempts 3 --jobs-at-once 0: need at least 1"),
        (["--slurm", "local", "--site", "/nowhere/site.sh"], "--site /nowhere/site.sh: cannot be read"),
        (["--slurm"], "--slurm: no sbatch and srun on this machine; run on a login node, or give --slurm local --jobs-at-once N"),
    ],
)
def test_settings_that_are_refused(monkeypatch, tmp_path, arguments, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MertError) as caught:
        settings_of(parse(*arguments))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
