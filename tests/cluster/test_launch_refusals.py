"""Launches that would train nothing, or with another number of processes, fail with one line; so do jobs that get nowhere."""

import shlex

import training_runs as runs
from slurm_cluster import REPOSITORY, Job

SCRIPT = REPOSITORY / "slurm" / "pretrain.sbatch"


def test_command_without_srun_in_a_job_of_two_tasks(cluster, corpus, tmp_path):
    command = shlex.join(runs.command(corpus, tmp_path / "run", "optimization.max_update=2"))
    result = cluster.run("sbatch", "--parsable", "-N2", "-n2", "-o", "job.log", "--wrap", command, folder=tmp_path)
    job = Job(cluster, result.stdout.strip(), tmp_path).wait()
    assert job.states() == ["FAILED"]
    assert "this Slurm job has 2 tasks, but the command was not started with srun" in job.log()
    assert not list(tmp_path.glob("run/checkpoints/*.pt"))


def test_world_size_that_is_not_the_number_of_tasks(cluster, pretrain, tmp_path):
    """A fault of input: the job ends with it, at once."""
    job = pretrain(cluster, tmp_path, "distributed_training.distributed_world_size=3").wait()
    assert (job.states(), job.field("Restarts"), job.field("ExitCode")) == (["FAILED"], "0", "1:0")
    assert "distributed_training.distributed_world_size=3, but srun started processes for 2" in job.log()


def test_wrong_submissions(cluster, site, tmp_path):
    for name, options, arguments, said in (
        ("none", ["-N2"], [], "nothing to train"),
        ("array", ["-N2", "--array=0-1"], ["--config-name", "mert_tiny"], "--array starts several jobs in one run folder"),
        ("gpus", ["-N2", "--gpus-per-node=2", "-n2"], ["--config-name", "mert_tiny"], "submit with --ntasks-per-node=2"),
    ):
        job = cluster.submit(tmp_path / name, *options, SCRIPT, *arguments, site=site).wait()
        assert set(job.states()) == {"FAILED"} and job.field("ExitCode") == "2:0"
        assert said in job.log()
    outside = cluster.run("bash", SCRIPT, "--config-name", "mert_tiny")
    assert outside.returncode == 2 and "not in a Slurm job; submit it" in outside.stderr


def test_a_process_for_each_gpu(cluster, site, corpus, tmp_path):
    """SITE_GPUS_PER_NODE=2 on two nodes is four processes; there is no CUDA here, so they train on the CPU."""
    changed = tmp_path / "site.sh"
    changed.write_text(site.read_text().replace("SITE_GPUS_PER_NODE= ", "SITE_GPUS_PER_NODE=2 "))
    arguments = runs.command(corpus, tmp_path / "run", "optimization.max_update=1", "dataset.num_workers=0")[1:]
    job = cluster.submit(tmp_path, "-N2", SCRIPT, *arguments, site=changed).wait()
    assert job.states() == ["COMPLETED"], job.log()[-4000:]
    assert "4 processes train together" in (tmp_path / "run" / "hydra_train.log").read_text()


def test_starts_without_progress_are_counted(cluster, site, tmp_path):
    """Stands for a training that something kills each time before its first checkpoint."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "fairseq-hydra-train").write_text("#!/bin/bash\nkill -9 $$\n")
    (tmp_path / "bin" / "fairseq-hydra-train").chmod(0o755)
    changed = tmp_path / "site.sh"
    changed.write_text(site.read_text().replace("SITE_SETUP='export PATH=", f"SITE_SETUP='export PATH={tmp_path}/bin:", 1))
    job = cluster.submit(tmp_path, "-N2", SCRIPT, "--config-name", "mert_tiny", site=changed).wait()
    assert (job.states(), job.field("Restarts")) == (["FAILED"], "3")
    assert job.log().count("training ended with code 137; the job is requeued") == 3
    assert "3 starts in a row without a new checkpoint; what is above says why; mend it and submit again" in job.log()
