"""slurm/submit.py on a real Slurm: a training that all sorts of things happen to is finished by itself; what is given up is named."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import training_runs as runs
from slurm_cluster import REPOSITORY, Job

from mert_fairseq.report.run_log import LOG_NAME

SUBMIT = [sys.executable, str(REPOSITORY / "slurm" / "submit.py")]
UPDATES = 70
SETTINGS = (
    f"optimization.max_update={UPDATES}",
    "checkpoint.save_interval_updates=5",
    "dataset.validate_interval_updates=50",
    "dataset.num_workers=0",
    "dataset.max_tokens=144000",
    "model.dropout=0.1",
)


def arguments(corpus, run_dir, *overrides):
    """Those of fairseq-hydra-train, without the run folder, which submit.py is told."""
    return [word for word in runs.command(corpus, run_dir, *overrides)[1:] if not word.startswith("hydra.run.dir")]


class Submission:
    """submit.py train --wait on two nodes, running."""

    def __init__(self, cluster, corpus, site, folder):
        self.cluster, self.folder, self.told = cluster, folder, folder / "told"
        command = [*SUBMIT, "train", "--nodes", "2", "--site", site, "--run-dir", folder / "run", "--wait"]
        with open(self.told, "w") as output:
            self.process = subprocess.Popen(
                [*map(str, command), "--", *arguments(corpus, folder, *SETTINGS)], env=cluster.environment, stdout=output, stderr=output
            )

    def past(self, update, seconds=120) -> Job:
        """The job, once it has trained so far."""
        log, mark, deadline = self.folder / "run" / LOG_NAME, f'"num_updates": "{update}"', time.monotonic() + seconds
        while not (log.is_file() and mark in log.read_text()):
            assert self.process.poll() is None and time.monotonic() < deadline, self.told.read_text()
            time.sleep(0.05)
        return Job(self.cluster, re.findall(r"job (\d+), log", self.told.read_text())[-1], self.folder)

    def end(self) -> str:
        self.process.wait(timeout=240)
        return self.told.read_text()


def process_of(job, rank) -> int:
    """Of the training itself; submitit starts it without a shell."""
    return next(iter(job._step(rank)))


@pytest.fixture(scope="module")
def undisturbed(cluster, corpus, tmp_path_factory):
    """Two processes on this machine."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    result = cluster.run(*runs.command(corpus, run_dir, *SETTINGS, "distributed_training.distributed_world_size=2"))
    assert result.returncode == 0, result.stderr[-3000:]
    numbers = runs.logged_numbers(run_dir)
    assert sorted(numbers["train"]) == list(range(1, UPDATES + 1))
    return numbers


def test_preempted_then_a_rank_killed_then_the_batch_script(cluster, corpus, site, undisturbed, tmp_path):
    submission = Submission(cluster, corpus, site, tmp_path)
    first = submission.past(12)
    assert cluster.run("srun", "-p", "high", "-N2", "--exclusive", "hostname").returncode == 0
    os.kill(process_of(submission.past(30), 1), signal.SIGKILL)
    second = submission.past(48)
    os.kill(second.batch_script(), signal.SIGKILL)
    told = submission.end()
    assert submission.process.returncode == 0, told
    assert int(first.field("Restarts")) == 1 and second.number != first.number
    assert re.search(r"attempt 1 of 3 died: n[12]: task 1: Killed \(\S+_0_log.err\)", told)
    assert "attempt 2 of 3 died: FAILED: ended from outside: batch script killed" in told and told.rstrip().endswith("finished")
    log = (tmp_path / "run" / LOG_NAME).read_text()
    loaded = [int(update) for update in re.findall(r"Loaded checkpoint .* @ (\d+) updates", log)]
    assert loaded[0] >= 12 and len(loaded) == 3  # the first: saved when the signal came
    numbers = runs.logged_numbers(tmp_path / "run")
    assert numbers == undisturbed


def test_a_fault_of_the_input_is_not_tried_again(cluster, corpus, site, tmp_path):
    command = [*SUBMIT, "train", "--nodes", "2", "--site", site, "--run-dir", tmp_path / "run", "--wait", "--"]
    result = cluster.run(*command, *arguments(corpus, tmp_path, "task.labels=[melrvq]"), folder=tmp_path)
    assert result.returncode == 1, result.stdout
    assert "melrvq" in result.stderr and "(attempt 1 of 3, log " in result.stderr and result.stderr.count("\n") == 1


def test_a_cancelled_training_is_not_submitted_again(cluster, corpus, site, tmp_path):
    submission = Submission(cluster, corpus, site, tmp_path)
    assert cluster.run("scancel", submission.past(3).number).returncode == 0
    told = submission.end()
    assert submission.process.returncode == 1 and "CANCELLED" in told and "(attempt 1 of 3, log " in told


def test_two_submissions_of_one_run_follow_each_other(cluster, corpus, site, tmp_path):
    """Without --wait; the second finds the run finished."""
    command = [*SUBMIT, "train", "--site", site, "--run-dir", tmp_path / "run", "--"]
    few = arguments(corpus, tmp_path, "optimization.max_update=3", "dataset.num_workers=0")
    jobs = []
    for _ in range(2):
        result = cluster.run(*command, *few, folder=tmp_path)
        assert result.returncode == 0, result.stderr
        jobs.append(Job(cluster, re.search(r"squeue -j (\d+)", result.stdout)[1], tmp_path))
    assert "Dependency" in jobs[1].field("Reason") or jobs[0].states() == ["COMPLETED"]
    for job in jobs:
        assert job.wait().states() == ["COMPLETED"]
    assert sorted(runs.logged_numbers(tmp_path / "run")["train"]) == [1, 2, 3]
