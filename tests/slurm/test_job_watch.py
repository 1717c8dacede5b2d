"""Jobs on this machine in place of a cluster's: what dies is submitted again, what does not finish is named; and the job of a training."""

import os
import re
import signal

import pytest

from mert_fairseq.cli import job_watch
from mert_fairseq.cli.job_watch import ending, watch
from mert_fairseq.cli.slurm_jobs import submit_jobs
from mert_fairseq.cli.train_job import IDLE_RUNS, INTERRUPTED, InputFault, TrainJob
from mert_fairseq.errors import MertError
from mert_fairseq.launch import interruption


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Submits one function per name, on this machine, and counts."""
    monkeypatch.setitem(job_watch.POLL_S, "local", 0.1)

    class Jobs:
        counts = {}

        def __init__(self, **functions):
            self.functions, self.counts = functions, dict.fromkeys(functions, 0)

        def __call__(self, names):
            for name in names:
                self.counts[name] += 1
            return submit_jobs("local", {}, tmp_path / "logs", [self.functions[name] for name in names])

    return Jobs


def dies_once(marker):
    def run():
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return run


def raises(error):
    def run():
        raise error

    return run


def test_what_dies_is_submitted_again(jobs, tmp_path, capsys):
    some = jobs(a=dies_once(tmp_path / "died"), b=lambda: None)
    watch(some, ["a", "b"], "local", attempts=2)
    told = capsys.readouterr().out
    assert some.counts == {"a": 2, "b": 1}
    assert "a: attempt 1 of 2 died: " in told and "a: finished" in told and "b: finished" in told


def test_what_does_not_finish_is_named_with_reason_and_log(jobs, capsys):
    """A fault of the input is not tried again."""
    some = jobs(fault=raises(InputFault("valid.tsv: empty")), broken=raises(OSError("disk full")), good=lambda: None)
    with pytest.raises(MertError) as caught:
        watch(some, ["fault", "broken", "good"], "local", attempts=2)
    assert some.counts == {"fault": 1, "broken": 2, "good": 1}
    told = str(caught.value)
    assert re.search(r"fault: valid.tsv: empty \(attempt 1 of 2, log \S+_0_log.err\)", told)
    assert re.search(r"broken: OSError: disk full \(attempt 2 of 2, log \S+_0_log.err\)", told)
    assert "good" not in told and "\n" not in told


def test_the_killed_rank_is_the_reason_not_those_it_took_along(jobs, tmp_path):
    [job] = jobs(a=raises(RuntimeError("Connection closed by peer")))(["a"])
    job.wait()
    with open(job.paths.stderr, "a") as log:
        log.write("srun: error: n2: task 1: Killed\nsrun: error: n1: task 0: Exited with exit code 1\n")
    assert ending(job, "FAILED").reason == "n2: task 1: Killed"
    assert ending(job, "CANCELLED").final


# The job itself.


def test_a_training_that_saves_nothing_is_not_requeued_for_ever(tmp_path):
    last = tmp_path / "checkpoints" / "checkpoint_last.pt"
    last.parent.mkdir()
    job = TrainJob([], last)
    for _ in range(IDLE_RUNS - 1):
        assert job.checkpoint().function is job
    last.touch()
    for _ in range(IDLE_RUNS):
        job.checkpoint()
    with pytest.raises(InputFault, match=f"{IDLE_RUNS} runs in a row ended without a new checkpoint"):
        job.checkpoint()


def test_the_exit_code_is_that_of_training():
    assert INTERRUPTED == interruption.INTERRUPTED
