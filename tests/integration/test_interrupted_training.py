"""Training that is told to stop, loses its last checkpoint, changes its number of processes, or meets what is not a number."""

import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import soundfile
import torch
import training_runs as runs

from mert_fairseq.launch.interruption import INTERRUPTED
from mert_fairseq.launch.start import ACCIDENT
from mert_fairseq.report.run_log import LOG_NAME, read_run_log

# 36 crops, 2 a batch, 4 batches an update: an epoch has four updates and one of the two batches that are left.
SETTINGS = ("optimization.max_update=14", "checkpoint.save_interval_updates=4", "dataset.validate_interval_updates=7", "model.dropout=0.1")
ONE = ("optimization.update_freq=[4]",)
TWO = ("distributed_training.distributed_world_size=2", "optimization.update_freq=[2]")
OF_VALIDATION = {"bsz", "wpb"}  # batches per step, summed over processes


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return runs.build_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def undisturbed(corpus, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    result = runs.train(corpus, run_dir, *SETTINGS, *ONE)
    assert result.returncode == 0, result.stderr[-2000:]
    return run_dir


def numbers(run_dir):
    """What was logged, by split and update."""
    logged = runs.logged_numbers(run_dir)
    for records in logged.values():
        for record in records.values():
            for key in OF_VALIDATION:
                record.pop(key, None)
    return logged


def train_and_signal(corpus, run_dir, number, whom, *overrides):
    """Signals a running training past update 3; returns its exit code."""
    with open(os.devnull, "w") as nowhere:
        process = subprocess.Popen(
            runs.command(corpus, run_dir, *overrides), env=runs.environment(), stdout=nowhere, stderr=nowhere, start_new_session=True
        )
    log, deadline = run_dir / LOG_NAME, time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and '"num_updates": "3"' in log.read_text(encoding="utf-8"):
            break
        time.sleep(0.02)
    whom(process.pid, number)
    return process.wait(timeout=240)


@pytest.mark.parametrize("number,whom", [(signal.SIGUSR2, os.kill), (signal.SIGTERM, os.killpg)], ids=["USR2", "TERM to all children"])
def test_a_signal_saves_and_the_same_command_goes_on(corpus, undisturbed, tmp_path, number, whom):
    run_dir, settings = tmp_path / "run", (*SETTINGS, *ONE, "dataset.num_workers=2")
    assert train_and_signal(corpus, run_dir, number, whom, *settings) == INTERRUPTED
    stopped = max(read_run_log(run_dir).train)
    assert 3 <= stopped < 14
    result = runs.train(corpus, run_dir, *settings)
    assert result.returncode == 0, result.stderr[-2000:]
    assert f"@ {stopped} updates" in (run_dir / LOG_NAME).read_text(encoding="utf-8")  # nothing was computed twice
    assert numbers(run_dir) == numbers(undisturbed)


def test_a_finished_run_is_not_trained_any_further(corpus, undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    before = (run_dir / "checkpoints" / "checkpoint_last.pt").read_bytes()
    result = runs.train(corpus, run_dir, *SETTINGS, *ONE)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "update 14 of optimization.max_update=14: nothing left to train" in (run_dir / LOG_NAME).read_text(encoding="utf-8")
    assert numbers(run_dir) == numbers(undisturbed) and (run_dir / "checkpoints" / "checkpoint_last.pt").read_bytes() == before


def test_an_accident_has_an_exit_code_of_its_own(corpus, tmp_path):
    """One of two processes is killed."""

    def kill_the_last(pid, number):
        children = [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]
        trainers = [child for child in children if b"spawn_main" in open(f"/proc/{child}/cmdline", "rb").read()]
        os.kill(trainers[-1], number)

    settings = (*SETTINGS, *TWO, "dataset.num_workers=0")
    assert train_and_signal(corpus, tmp_path / "run", signal.SIGKILL, kill_the_last, *settings) == ACCIDENT


def test_two_processes_are_one_and_resume_as_one(corpus, undisturbed, tmp_path):
    """Equal to one process with the same batch; signalled, then continued by one process."""
    run_dir = tmp_path / "run"
    assert train_and_signal(corpus, run_dir, signal.SIGUSR2, os.kill, *SETTINGS, *TWO) == INTERRUPTED
    refused = runs.train(corpus, run_dir, *SETTINGS, "optimization.update_freq=[1]")
    assert refused.returncode == 1
    assert "2 processes and 4 batches per update, this run would take 1; set optimization.update_freq=[4]" in refused.stderr
    shutil.copytree(run_dir, tmp_path / "accepted")
    changes = ("optimization.update_freq=[1]", "task.accept_new_order=true", "optimization.max_update=10")
    accepted = runs.train(corpus, tmp_path / "accepted", *SETTINGS, *changes)
    assert accepted.returncode == 0, accepted.stderr[-2000:]
    result = runs.train(corpus, run_dir, *SETTINGS, *ONE)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "the run continues with 1 processes instead of 2" in (run_dir / LOG_NAME).read_text(encoding="utf-8")
    assert numbers(run_dir) == numbers(undisturbed)


def test_a_restart_goes_on_from_its_own_checkpoints(corpus, undisturbed, tmp_path):
    """Not again from what the run began with."""
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    begin = f"checkpoint.restore_file={undisturbed}/checkpoints/checkpoint_1_8.pt"
    result = runs.train(corpus, run_dir, *SETTINGS, *ONE, begin, "optimization.max_update=15")
    assert result.returncode == 0, result.stderr[-2000:]
    log = (run_dir / LOG_NAME).read_text(encoding="utf-8")
    assert "going on from the run's own checkpoints" in log and "@ 14 updates" in log


def test_gpus_that_are_not_seen_are_not_replaced_by_a_cpu_in_silence(corpus, tmp_path):
    environment = runs.environment(SLURM_JOB_GPUS="0,1")
    command = runs.command(corpus, tmp_path / "run", "common.cpu=false", "optimization.max_update=1")
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 1 and "this job was given GPUs (0,1), but torch" in result.stderr and "common.cpu=true" in result.stderr


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_half_written_checkpoint_is_passed_over(corpus, undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    checkpoints = run_dir / "checkpoints"
    cut(checkpoints / "checkpoint_last.pt")
    result = runs.train(corpus, run_dir, *SETTINGS, *ONE)
    assert result.returncode == 0, result.stderr[-2000:]
    log = (run_dir / LOG_NAME).read_text(encoding="utf-8")
    assert "checkpoint_last.pt: truncated or not a checkpoint" in log and "going on from checkpoint_3_12.pt" in log
    assert "@ 12 updates" in log and numbers(run_dir) == numbers(undisturbed)


def test_a_run_that_lost_all_its_checkpoints_does_not_start_from_nothing(corpus, undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    for path in (run_dir / "checkpoints").glob("*.pt"):
        path.unlink()
    result = runs.train(corpus, run_dir, *SETTINGS, *ONE)
    assert result.returncode == 1
    assert "update 14 was saved here and no checkpoint is left" in result.stderr
    assert "empty the folder to start the run anew" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def corpus_too_loud(tmp_path_factory):
    """One file of the training split is so loud that nothing finite comes of it."""
    corpus = runs.build_corpus(tmp_path_factory.mktemp("loud"))
    wave, rate = soundfile.read(corpus / "audio" / "train2.flac", dtype="float32")
    (corpus / "audio" / "train2.flac").unlink()
    soundfile.write(corpus / "audio" / "train2.flac", np.full_like(wave, 1e30), rate, format="WAV", subtype="FLOAT")
    return corpus


def test_updates_that_are_not_numbers_are_skipped_and_counted(corpus_too_loud, tmp_path):
    result = runs.train(corpus_too_loud, tmp_path / "run", *SETTINGS, "criterion.nan_patience=9", "task.cqt_labels=null")
    assert result.returncode == 0, result.stderr[-2000:]
    log = (tmp_path / "run" / LOG_NAME).read_text(encoding="utf-8")
    assert "update skipped (1 in a row); files: " in log and "train2.flac" in log
    train = read_run_log(tmp_path / "run").train
    assert sorted(train)[-1] == 14 and train[14]["skipped_updates"] == log.count("update skipped") > 0
    assert all(np.isfinite(record["loss"]) for record in train.values())


@pytest.mark.parametrize("processes", [ONE, TWO], ids=["one process", "two processes"])
def test_after_some_in_a_row_training_stops_and_names_the_files(corpus, undisturbed, tmp_path, processes):
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    last = run_dir / "checkpoints" / "checkpoint_last.pt"
    state = torch.load(last, weights_only=False)  # its settings are Python objects
    state["model"]["mask_emb"].fill_(float("nan"))
    torch.save(state, last)
    before = last.read_bytes()
    changes = ("optimization.max_update=20", "criterion.nan_patience=2")
    result = runs.train(corpus, run_dir, *SETTINGS, *processes, *changes)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "(2 in a row); files: train" in result.stderr and "criterion.nan_patience=2 is reached" in result.stderr
    assert last.read_bytes() == before
