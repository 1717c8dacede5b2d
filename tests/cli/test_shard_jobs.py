"""Shards as jobs: small made-up commands through submitit on this machine, and what Slurm would be given."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from mert_fairseq.cli import shard_run
from mert_fairseq.cli.shard_job import ShardJob
from mert_fairseq.cli.shard_run import ClusterSettings, run_shards
from mert_fairseq.cli.site import DEFAULTS
from mert_fairseq.errors import MertError


def settings(folder, **changes):
    return ClusterSettings(**{"cluster": "local", "job_logs": folder / "logs", **changes})


def shell(text):
    """A command of every shard; the shard's number is $0."""
    return lambda shard: ["/bin/sh", "-c", text, str(shard)]


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
