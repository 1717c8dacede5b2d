"""Hydra sweeps: an array on the cluster, jobs on this machine; each run has its folder, in which the same command goes on."""

import re
import shlex

import training_runs as runs

from mert_fairseq.report.run_log import LOG_NAME

SWEPT = ("optimization.lr=[0.0005]", "optimization.lr=[0.001]")
RATES = "optimization.lr=[0.0005],[0.001]"
SETTINGS = ("checkpoint.save_interval_updates=3", "dataset.num_workers=0", "lr_scheduler.warmup_updates=1")
#: Both processes of a job write it; one that trains alone says nothing of the sort.
TOGETHER = "2 processes train together"


def sweep(cluster, corpus, folder, launcher, updates, *overrides):
    """The command as a user gives it, in `folder`; returns the run folders."""
    program, *arguments = [word for word in runs.command(corpus, folder, *SETTINGS) if not word.startswith("hydra.run.dir")]
    how = [f"hydra/launcher={launcher}", "hydra.launcher.cpus_per_task=1", f"optimization.max_update={updates}"]
    command = [program, "-m", *arguments, RATES, *how, *overrides]
    result = cluster.run(*command, folder=folder)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr[-4000:]}"
    found = sorted(path.name for path in (folder / "runs" / "mert_tiny_sweep").iterdir() if (path / LOG_NAME).is_file())
    assert found == sorted(SWEPT)
    return [folder / "runs" / "mert_tiny_sweep" / name for name in SWEPT]


def said(run_dir, words) -> int:
    return (run_dir / LOG_NAME).read_text(encoding="utf-8").count(words)


def test_a_sweep_is_an_array_and_the_same_command_continues_its_folders(cluster, corpus, tmp_path):
    """Two nodes for each of the two jobs."""
    on_cluster = ("submitit_slurm", 4, "hydra.launcher.partition=main", "hydra.launcher.nodes=2")
    folders = sweep(cluster, corpus, tmp_path, *on_cluster)
    [script] = (tmp_path / "runs" / "mert_tiny_sweep" / ".submitit").glob("*/*_submission.sh")
    assert re.search(r"#SBATCH --array=0-1%", script.read_text())
    losses = []
    for run_dir in folders:
        assert said(run_dir, TOGETHER) == 2 and said(run_dir, "Loaded checkpoint") == 0
        numbers = runs.logged_numbers(run_dir)["train"]
        assert sorted(numbers) == list(range(1, 5))
        losses.append([numbers[update]["loss"] for update in (1, 4)])
    assert losses[0][0] == losses[1][0] and losses[0][1] != losses[1][1]  # from the same start, at different rates

    longer = ("submitit_slurm", 6, *on_cluster[2:], "common.log_interval=2")  # what is not swept does not change the folders
    for run_dir in sweep(cluster, corpus, tmp_path, *longer):
        assert "@ 4 updates" in (run_dir / LOG_NAME).read_text() and said(run_dir, "Loaded checkpoint") == 1
        assert sorted(runs.logged_numbers(run_dir)["train"])[-1] == 6


def test_a_sweep_on_this_machine(cluster, corpus, tmp_path):
    for run_dir in sweep(cluster, corpus, tmp_path, "submitit_local", 3):
        assert sorted(runs.logged_numbers(run_dir)["train"]) == [1, 2, 3]


def test_a_fault_of_the_input_reaches_who_gave_the_command(cluster, corpus, tmp_path):
    places = [f"task.data={corpus}/manifest", "task.label_dir=nowhere"]
    sweep = ["fairseq-hydra-train", "-m", "--config-name", "mert_tiny", *places, *runs.SMALL_MODEL, RATES]
    result = cluster.run(*sweep, "hydra/launcher=submitit_slurm", folder=tmp_path)
    assert result.returncode == 1 and "nowhere" in result.stderr
