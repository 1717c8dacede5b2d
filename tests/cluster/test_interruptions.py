"""What clusters do to jobs of slurm/pretrain.sbatch: every run ends at its last update with the numbers of an undisturbed one."""

import os
import re
import signal
import statistics

import pytest
import training_runs as runs

from mert_fairseq.report.run_log import LOG_NAME, read_run_log

UPDATES, LONG = 60, 300
HIT_AT = 12  # the update after which things happen; the checkpoint before it is of update 10
SETTINGS = (
    "+lr_scheduler.total_num_update=1000",  # not max_update: a shorter run is the beginning of a longer one
    "checkpoint.save_interval_updates=5",
    "dataset.validate_interval_updates=20",
    "dataset.max_tokens=144000",
    "model.dropout=0.1",
    "model.mixture_prob=0.5",
)


@pytest.fixture(scope="module")
def undisturbed_run(cluster, pretrain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    job = pretrain(cluster, folder, *SETTINGS, f"optimization.max_update={LONG}").wait()
    assert (job.states(), job.field("Restarts")) == (["COMPLETED"], "0"), job.log()[-6000:]
    return folder / "run"


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run):
    """Everything its log has, by split and update."""
    numbers = runs.logged_numbers(undisturbed_run)
    assert sorted(numbers["train"]) == list(range(1, LONG + 1))
    return numbers


@pytest.fixture(scope="module")
def updates_of_45_s(undisturbed_run):
    """As many updates as this machine makes in that time, at least LONG."""
    rates = [record["ups"] for update, record in read_run_log(undisturbed_run).train.items() if update > 1]
    return max(LONG, int(45 * statistics.median(rates)))


@pytest.fixture
def hit(cluster, pretrain, tmp_path):
    """A job that has passed HIT_AT."""
    job = pretrain(cluster, tmp_path, *SETTINGS, f"optimization.max_update={UPDATES}")
    job.until(lambda: reached(tmp_path, HIT_AT))
    return job


def reached(folder, update) -> bool:
    log = folder / "run" / LOG_NAME
    return log.is_file() and f'"num_updates": "{update}"' in log.read_text(encoding="utf-8")


def assert_finished(job, undisturbed, updates) -> None:
    """At the last update, after a restart from a checkpoint, with the numbers of the undisturbed run."""
    job.wait()
    assert job.states() == ["COMPLETED"], job.log()[-8000:]
    assert int(job.field("Restarts")) >= 1
    numbers = runs.logged_numbers(job.folder / "run")
    assert sorted(numbers["train"]) == list(range(1, updates + 1))
    for split, wanted in undisturbed.items():
        for update in wanted.keys() & range(updates + 1):
            assert numbers[split][update] == wanted[update], f"{split}, update {update}\n{job.log()[-8000:]}"
    assert loaded(job), "the restart began anew"


def loaded(job) -> list:
    """Updates of the checkpoints that the restarts went on from."""
    return [int(update) for update in re.findall(r"Loaded checkpoint .* @ (\d+) updates", (job.folder / "run" / LOG_NAME).read_text())]


def test_requeue(hit, undisturbed):
    assert hit.cluster.run("scontrol", "requeue", hit.number).returncode == 0
    assert_finished(hit, undisturbed, UPDATES)


def test_preemption(hit, undisturbed):
    result = hit.cluster.run("srun", "-p", "high", "-N2", "--exclusive", "hostname")
    assert sorted(result.stdout.split()) == hit.cluster.nodes
    assert_finished(hit, undisturbed, UPDATES)
    assert loaded(hit)[0] >= HIT_AT  # saved when the signal came


def test_killed_rank(hit, undisturbed):
    os.kill(hit.training(1), signal.SIGKILL)
    assert_finished(hit, undisturbed, UPDATES)


def test_killed_batch_script(hit, undisturbed):
    os.kill(hit.batch_script(), signal.SIGKILL)
    assert_finished(hit, undisturbed, UPDATES)
    assert loaded(hit)[0] >= HIT_AT


def test_lost_node(hit, undisturbed):
    """The daemon of the second node and all that ran there; Slurm finds out by itself."""
    hit.cluster.kill_node("n2", hit.on_node(1))
    try:
        hit.until(lambda: "down" in hit.cluster.run("sinfo", "-h", "-n", "n2", "-o", "%t").stdout)
    finally:
        hit.cluster.start()
    assert_finished(hit, undisturbed, UPDATES)


def test_killed_slurmd(hit, undisturbed):
    """The daemon alone: training would go on until the node is taken for lost, which is said here, to not depend on who is sooner."""
    hit.cluster.kill_node("n2")
    try:
        down = hit.cluster.run("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=lost")
        assert down.returncode == 0, down.stderr
    finally:
        hit.cluster.start()
    assert_finished(hit, undisturbed, UPDATES)


def test_time_limit_of_one_minute(cluster, pretrain, undisturbed, updates_of_45_s, tmp_path):
    """Slurm looks at limits every 30 s, and its signal comes up to that much sooner than asked for: 15 to 45 s after each start."""
    options = ("-N2", "--time=1", "--signal=USR2@15")
    job = pretrain(cluster, tmp_path, *SETTINGS, f"optimization.max_update={updates_of_45_s}", options=options)
    assert_finished(job, undisturbed, updates_of_45_s)


def test_cancelled_stays_cancelled_and_the_same_command_goes_on(cluster, pretrain, undisturbed, tmp_path):
    job = pretrain(cluster, tmp_path, *SETTINGS, f"optimization.max_update={UPDATES}")
    job.until(lambda: reached(tmp_path, HIT_AT))
    assert cluster.run("scancel", job.number).returncode == 0
    job.wait()
    assert (job.states(), job.field("Restarts")) == (["CANCELLED"], "0"), job.log()[-6000:]
    again = pretrain(cluster, tmp_path, *SETTINGS, f"optimization.max_update={UPDATES}").wait()
    assert again.states() == ["COMPLETED"], again.log()[-6000:]
    numbers = runs.logged_numbers(tmp_path / "run")
    assert numbers["train"] == {update: undisturbed["train"][update] for update in range(1, UPDATES + 1)}
