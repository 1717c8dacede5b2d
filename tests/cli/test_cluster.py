"""Shards as jobs: command lines, site values, and small made-up commands through submitit on this machine."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mert_fairseq.cli import shard_run
from mert_fairseq.cli.cluster import add_arguments, plain_command, settings_of, shard_command
from mert_fairseq.cli.main import build_parser
from mert_fairseq.cli.shard_job import ShardJob
from mert_fairseq.cli.shard_run import ClusterSettings, run_shards
from mert_fairseq.cli.site import DEFAULTS, PARAMETERS, read_site
from mert_fairseq.errors import MertError

SLURM = Path(__file__).parents[2] / "slurm"
PLACES = ["labels", "cqt", "m", "l"]


def settings(folder, **changes):
    return ClusterSettings(**{"cluster": "local", "job_logs": folder / "logs", **changes})


def parse(*arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("label_dir", nargs="?", default="labels")
    add_arguments(parser)
    return parser.parse_args(arguments)


def shell(text):
    """A command of every shard; the shard's number is $0."""
    return lambda shard: ["/bin/sh", "-c", text, str(shard)]


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


# Site values.


def site(folder, text):
    (folder / "site.sh").write_text(text)
    return read_site(folder / "site.sh")


def test_site_values_are_read_without_being_run(tmp_path):
    text = """# values
    SITE_PARTITION=gpu # comment
    export SITE_ACCOUNT='my project'
    SITE_CPUS_PER_TASK="16"
    SITE_GPUS_PER_NODE=
    SITE_SETUP='module load x; . $HOME/env'
    SITE_OPTIONS="--qos=long --exclusive --constraint=a&b"
    SITE="--cpus-per-task=$SITE_CPUS_PER_TASK $(touch ran)"
    OTHER=$(touch ran)
    """
    assert site(tmp_path, text) == {
        "slurm_partition": "gpu",
        "slurm_account": "my project",
        "cpus_per_task": 16,
        "slurm_setup": ["module load x; . $HOME/env"],
        "slurm_additional_parameters": {"qos": "long", "exclusive": True, "constraint": "a&b"},
    }
    assert not (tmp_path / "ran").exists() and not Path("ran").exists()


@pytest.mark.parametrize(
    "line, message",
    [
        ("SITE_QUEUE=x", "SITE_QUEUE is not known; allowed: SITE_PARTITION, SITE_ACCOUNT"),
        ("SITE_MEM_GB=8G", "SITE_MEM_GB='8G'; need a whole number, at least 1"),
        ("SITE_TIMEOUT_MIN=", "SITE_TIMEOUT_MIN=''; need a whole number, at least 1"),
        ("SITE_GPUS_PER_NODE=0", "SITE_GPUS_PER_NODE='0'; need a whole number, at least 1 or none"),
        ("SITE_SETUP=module load x", "'module load x' is several words; put them in quotes"),
        ("SITE_SETUP='module", "\"'module\" cannot be read (No closing quotation)"),
        ("SITE_OPTIONS='-p gpu'", "'-p' in SITE_OPTIONS; write sbatch's long options as --name=value or --name"),
    ],
)
def test_a_wrong_site_value_is_named_with_its_line(tmp_path, line, message):
    with pytest.raises(MertError) as caught:
        site(tmp_path, f"# values\n{line}\n")
    assert str(caught.value).startswith(f"{tmp_path}/site.sh, line 2: {message}")


def test_the_shipped_site_file_names_every_value_and_both_forms_agree(tmp_path):
    text = (SLURM / "site.sh").read_text()
    assert all(f"\nSITE_{name}=" in text for name in PARAMETERS)
    assert site(tmp_path, text) == DEFAULTS
    options = subprocess.run(["bash", "-c", f". {SLURM}/site.sh; echo $SITE"], capture_output=True, text=True, check=True).stdout
    assert options.split() == ["--cpus-per-task=4", "--mem=8G", "--time=240"]
    filled = text.replace("SITE_PARTITION=", "SITE_PARTITION=p").replace("SITE_ACCOUNT=", "SITE_ACCOUNT=a")
    filled = filled.replace("SITE_GPUS_PER_NODE=", "SITE_GPUS_PER_NODE=2").replace("SITE_OPTIONS=", "SITE_OPTIONS='--qos=q --exclusive'")
    assert site(tmp_path, filled) == {
        **DEFAULTS,
        "slurm_partition": "p",
        "slurm_account": "a",
        "gpus_per_node": 2,
        "slurm_additional_parameters": {"qos": "q", "exclusive": True},
    }
    program = f". {tmp_path}/site.sh; echo $SITE"
    options = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True).stdout
    wanted = ["--cpus-per-task=4", "--mem=8G", "--time=240", "--qos=q", "--exclusive", "--partition=p", "--account=a", "--gpus-per-node=2"]
    assert options.split() == [*wanted, "--ntasks-per-node=2"]  # of pretrain.sbatch; the other scripts ask for one task in all


# The plain sbatch form.


def sbatch_task(folder, *arguments, **variables):
    """Runs the script as a task of an array would, with a `mert` that says what it was given."""
    (folder / "mert").write_text('#!/bin/sh\necho "$OMP_NUM_THREADS: $*"\n')
    (folder / "mert").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **variables}
    command = ["bash", str(SLURM / "labels.sbatch"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def array(task, count, maximum=None):
    values = {"TASK_ID": task, "TASK_COUNT": count, "TASK_MAX": count - 1 if maximum is None else maximum}
    return {f"SLURM_ARRAY_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize("name", ["labels.sbatch", "site.sh"])
def test_scripts_are_bash(name):
    checked = subprocess.run(["bash", "-n", str(SLURM / name)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_task_of_the_array_does_its_shard(tmp_path):
    done = sbatch_task(tmp_path, "cqt", "m", "l l", "--name", "x", **array(5, 64), SLURM_CPUS_PER_TASK="7", SITE_SETUP="echo set up")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["set up", "7: labels cqt m l l --name x --nshard 64 --shard 5"]


def test_some_shards_of_a_larger_division(tmp_path):
    done = sbatch_task(tmp_path, "cqt", "m", "l", "--nshard", "64", **array(17, 2, 17))
    assert done.stdout == "1: labels cqt m l --nshard 64 --shard 17\n"
    done = sbatch_task(tmp_path, "cqt", "m", "l", **array(17, 2, 17))
    assert done.returncode == 2 and done.stderr == (
        "labels.sbatch: --array is not 0 to N-1; say with --nshard N how many shards there are in all\n"
    )


def test_the_script_without_an_array(tmp_path):
    done = sbatch_task(tmp_path, "cqt", "m", "l")
    assert done.returncode == 2 and done.stderr.startswith("labels.sbatch: not a task of an array; submit it with sbatch --array=")


# Jobs on this machine.


@pytest.mark.parametrize("at_once", [None, 2])
def test_every_shard_is_run_once_and_no_more_at_once_than_allowed(tmp_path, monkeypatch, capfd, at_once):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    text = f'cd {tmp_path}; touch run$0; ls | grep -c ^run >> counts; echo "$CUDA_VISIBLE_DEVICES" > gpu$0; sleep 1; rm run$0'
    run_shards(shell(text), [0, 1, 2, 5], settings(tmp_path, jobs_at_once=at_once))
    counts = [int(count) for count in (tmp_path / "counts").read_text().split()]
    assert len(counts) == 4 and max(counts) == (at_once or 1)
    assert [(tmp_path / f"gpu{shard}").read_text() for shard in (0, 1, 2, 5)] == ["4\n", "5\n", "4\n", "5\n"]
    assert capfd.readouterr() == ("", "")  # nobody watches


def test_what_fails_is_tried_again(tmp_path, capfd):
    text = f"cd {tmp_path}; echo >> tries$0; [ $0 != 1 ] || [ $(wc -l < tries$0) = 2 ] || {{ echo mert: made up >&2; echo >&2; exit 1; }}"
    run_shards(shell(text), [0, 1, 2], settings(tmp_path, jobs_at_once=3))
    assert [len((tmp_path / f"tries{shard}").read_text()) for shard in range(3)] == [1, 2, 1]
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith(f"shard 1: attempt 1 of 3 failed: made up ({tmp_path}/logs/")


def test_what_fails_for_good_is_named_with_reason_and_log(tmp_path, capfd):
    text = f"echo >> {tmp_path}/tries$0; case $0 in 1|3) echo noise >&2; echo mert: no music >&2; exit 1;; 2) exit 7;; 4) kill -9 $$;; esac"
    with pytest.raises(MertError) as caught:
        run_shards(shell(text), range(6), settings(tmp_path, jobs_at_once=3, attempts=2))
    message = str(caught.value)
    assert message.startswith("2 of 6 shards are complete, 4 failed: shard 1, 3: no music (log ")
    assert "; shard 2: ended with code 7 without a word (log " in message
    assert "; shard 4: killed by SIGKILL (out of memory?) (log " in message
    assert message.endswith("; mend it and give the same command to go on") and "\n" not in message
    log = Path(message.split("(log ")[1].split(")")[0])
    assert "noise\nmert: no music\n" in log.read_text()
    assert [len((tmp_path / f"tries{shard}").read_text()) for shard in range(6)] == [1, 2, 2, 2, 2, 1]


def test_logs_that_cannot_be_written(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(MertError, match=f"{tmp_path}/logs/.*: cannot be made .*; give another --job-logs"):
        run_shards(shell("true"), [0], settings(tmp_path))


def test_an_interrupt_stops_the_jobs_of_this_machine(tmp_path, capfd):
    """Which clean up before they end, and are not tried again."""
    text = f'trap "touch {tmp_path}/cleaned$0; exit 130" INT; touch {tmp_path}/begun$0; while :; do sleep 0.1; done'

    def interrupt():
        while not all((tmp_path / f"begun{shard}").exists() for shard in (0, 1)):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_shards(shell(text), range(4), settings(tmp_path, jobs_at_once=2))
    thread.join()
    assert sorted(path.name for path in tmp_path.glob("*[0-9]")) == ["begun0", "begun1", "cleaned0", "cleaned1"]
    assert capfd.readouterr().err == ""


# What a scheduler does to a job.


def test_a_notice_stops_the_command_and_the_same_one_goes_on(tmp_path):
    """As submitit does it on a time limit or a preemption; the notice, sent to all processes, does not kill the command."""
    text = f'trap "touch {tmp_path}/cleaned; exit 130" INT; echo begun; touch {tmp_path}/begun; while :; do sleep 0.1; done'
    job = ShardJob(shell(text)(0), {"A": "b"})
    requeued = []

    def notice(*_):
        requeued.append(job.checkpoint())
        raise TimeoutError

    before = signal.signal(signal.SIGUSR2, notice)

    def send():
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        job._process.send_signal(signal.SIGUSR2)
        time.sleep(0.3)
        assert job._process.poll() is None
        os.kill(os.getpid(), signal.SIGUSR2)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            job()
    finally:
        signal.signal(signal.SIGUSR2, before)
        thread.join()
    assert (tmp_path / "cleaned").exists() and job._process.poll() == 130
    assert (requeued[0].function.command, requeued[0].function.environment) == (job.command, {"A": "b"})


def test_cores_of_the_job_are_used_unless_told_otherwise(monkeypatch, capfd):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    ShardJob(shell("echo $OMP_NUM_THREADS $B")(0), {"B": "b"})()
    ShardJob(shell("echo $OMP_NUM_THREADS $B")(0), {"OMP_NUM_THREADS": "2"})()
    assert capfd.readouterr().out == "6 b\n2\n"


# Submitting to Slurm, with an sbatch that keeps what it is given.


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    def sbatch(text):
        for name in ("sbatch", "srun", "sacct"):
            (tmp_path / name).write_text(f"#!/bin/sh\n{text if name == 'sbatch' else 'exit 0'}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return sbatch


def test_what_sbatch_says_is_shown(tmp_path, sbatch):
    sbatch("echo 'sbatch: error: first' >&2; echo 'sbatch: error: invalid partition: x' >&2; exit 1")
    with pytest.raises(MertError) as caught:
        run_shards(shell("true"), range(3), settings(tmp_path, cluster="slurm"))
    assert str(caught.value) == (
        "3 jobs cannot be submitted (sbatch: error: invalid partition: x); see --site, --job-logs, --nshard"
    )


def test_one_array_with_the_site_s_values_and_an_interrupt_leaves_it(tmp_path, sbatch, monkeypatch, capfd):
    sbatch(f"cp $1 {tmp_path}/submitted; echo Submitted batch job 77")

    def interrupt(seconds):
        if seconds == shard_run.POLL_S["slurm"]:
            raise KeyboardInterrupt

    monkeypatch.setattr(shard_run.time, "sleep", interrupt)
    values = {**DEFAULTS, "slurm_partition": "p", "slurm_setup": ["module load x"], "slurm_additional_parameters": {"qos": "q"}}
    with pytest.raises(KeyboardInterrupt):
        run_shards(shell("true"), range(3), settings(tmp_path, cluster="slurm", jobs_at_once=2, site=values))
    told = capfd.readouterr().err
    assert told == "mert: 3 jobs go on; let them end or `scancel 77` before you give the same command again\n"
    lines = (tmp_path / "submitted").read_text().splitlines()
    for line in ("array=0-2%2", "cpus-per-task=4", "mem=8GB", "time=240", "partition=p", "qos=q", "job-name=mert-labels"):
        assert f"#SBATCH --{line}" in lines
    assert "module load x" in lines and " --cpus-per-task=4 " in lines[-1]
    assert len(list((tmp_path / "logs").glob("*/77_*_submitted.pkl"))) == 3
