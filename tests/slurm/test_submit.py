"""slurm/submit.py without Slurm: what sbatch, a script that keeps its file, is given; and what is refused."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

from mert_fairseq.cli import shard_run

SUBMIT = Path(__file__).parents[2] / "slurm" / "submit.py"
STAMP = re.compile(r"\d{8}-\d{6}-\d+")
spec = importlib.util.spec_from_file_location("submit", SUBMIT)
submit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(submit)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to submit from, with an sbatch that keeps what it is given, and targets' folders."""
    for name in ("bin", "manifests", "labels"):
        (tmp_path / name).mkdir()
    for name, text in (("sbatch", f'cp "$1" {tmp_path}/given; echo Submitted batch job 77'), ("srun", "exit 1")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def site(folder, text):
    path = folder / "my_site.sh"
    path.write_text(f"SITE_CPUS_PER_TASK=2\nSITE_MEM_GB=8\nSITE_TIMEOUT_MIN=60\n{text}")
    return str(path)


TRAIN = ["--", "--config-name", "mert_tiny", "task.data=manifests", "task.label_dir=labels"]


def test_the_dry_run_of_a_training_is_what_sbatch_gets(place, capsys):
    values = site(place, "SITE_PARTITION=gpu\nSITE_SETUP='module load x'\nSITE_OPTIONS='--qos=long --exclusive'\nSITE_GPUS_PER_NODE=4\n")
    assert submit.main(["train", "--nodes", "2", "--site", values, "--dry-run", *TRAIN]) == 0
    shown = capsys.readouterr().out
    assert not (place / "runs").exists() and not (place / "given").exists()
    lines = shown.splitlines()
    wanted = ["nodes=2", "ntasks-per-node=4", "gpus-per-node=4", "cpus-per-task=2", "time=60", "mem=8GB", "partition=gpu", "qos=long"]
    wanted += ["exclusive", "requeue", "open-mode=append", "signal=USR2@120", "dependency=singleton"]
    assert {f"#SBATCH --{word}" for word in wanted} <= set(lines)
    assert lines.index("module load x") < next(number for number, line in enumerate(lines) if line.startswith("srun "))
    assert submit.main(["train", "--nodes", "2", "--site", values, *TRAIN]) == 0
    given = (place / "given").read_text()
    assert STAMP.sub("", given).strip() == STAMP.sub("", shown).strip()
    told = capsys.readouterr().out
    assert f"job 77, log {place}/runs/mert_tiny/jobs/" in told and "watch: squeue -j 77    cancel: scancel 77" in told


def interrupt(seconds):
    """Ctrl-C while waiting; raised, as a test run in the background ignores the signal."""
    raise KeyboardInterrupt


def test_the_dry_run_of_labels_is_what_mert_labels_submits(corpus, place, capsys, monkeypatch):
    corpus.manifest((4800, 9600, 3200), audio=True)
    arguments = ["cqt", str(corpus.manifests), str(corpus.labels), "--splits", "train", "--nshard", "3"]
    values = site(place, "SITE_ACCOUNT=me\n")
    assert submit.main(["labels", "--site", values, "--dry-run", "--", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "#SBATCH --array=0-2%3" in shown and not (place / "given").exists()
    monkeypatch.setattr(shard_run.time, "sleep", interrupt)
    assert submit.main(["labels", "--site", values, "--", *arguments]) == 130
    assert STAMP.sub("", (place / "given").read_text()).strip() == STAMP.sub("", shown).strip()


def test_a_probe_is_a_job_per_task(place, capsys):
    assert submit.main(["probe", "GTZAN", "MTT", "--dry-run", "--", "--model", "m", "--data", "d", "--out", "o"]) == 0
    assert "#SBATCH --array=0-1%2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "--nodes", "0", *TRAIN], "argument --nodes: 0: need a whole number, at least 1"),
        (["train", "--gpus-per-node", "2", "--tasks-per-node", "2", *TRAIN], "not allowed with argument"),
        (["train", "--nodes", "2"], "train: no arguments behind --"),
        (["probe", "--", "--model", "m"], "the following arguments are required: TASK"),
    ],
)
def test_wrong_usage(place, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        submit.main(arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err and not (place / "given").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--", "--config-name", "mert_tyni"], "--config-name mert_tyni: unknown; allowed: mert_base,"),
        (["--", "-m", "--config-name", "mert_tiny"], "fairseq-hydra-train --multirun submits its jobs itself"),
        (["--cluster", "local", "--nodes", "2", *TRAIN], "--nodes 2 --cluster local: this machine is one node"),
        (["--site", "nowhere.sh", *TRAIN], "--site nowhere.sh: cannot be read"),
        ([*TRAIN, "model.encoder_layer=3"], "fairseq-hydra-train refuses its arguments: Could not override 'model.encoder_layer'"),
        (["--", "--config-name", "mert_tiny", "task.data=manifests"], "task.label_dir: no value; add task.label_dir=..."),
        ([*TRAIN, "task.label_dir=nowhere"], "task.label_dir=nowhere: no such folder; make it with"),
        ([*TRAIN, "hydra.run.dir=${now:%H}"], "hydra.run.dir=${now:%H}: must stay the same when the job starts again; give --run-dir DIR"),
    ],
)
def test_a_training_that_is_refused_before_it_is_queued(place, capsys, arguments, message):
    assert submit.main(["train", *arguments]) == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"submit.py: {message}") and told.err.count("\n") == 1
    assert not (place / "given").exists() and not (place / "runs").exists()


def test_without_slurm_it_says_where_to_go(place, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert submit.main(["probe", "GTZAN", "--", "--model", "m"]) == 1
    assert capsys.readouterr().err.startswith("submit.py: no sbatch and srun on this machine; run on a login node, or")
