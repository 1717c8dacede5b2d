"""A run killed in the middle of an epoch and given the same command again logs what the undisturbed run logs, number for number."""

import pytest
import training_runs as runs
from same_numbers import first_difference

from mert_fairseq.report.run_log import read_run_log

# 36 crops, 2 a batch: 18 updates per epoch. Killed past update 12, resumed from the checkpoint of update 10, through an epoch's end.
SETTINGS = (
    "optimization.max_update=24",
    "checkpoint.save_interval_updates=5",
    "dataset.validate_interval_updates=10",
    "model.mixture_prob=0.5",
    "model.dropout=0.1",
    "model.encoder_layerdrop=0.2",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return runs.build_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def undisturbed(corpus, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    result = runs.train(corpus, run_dir, *SETTINGS, "dataset.num_workers=0")
    assert result.returncode == 0, result.stderr[-2000:]
    return run_dir


@pytest.mark.parametrize("num_workers", [0, 2])
def test_killed_run_continues_exactly(corpus, undisturbed, tmp_path, num_workers):
    run_dir, workers = tmp_path / "run", f"dataset.num_workers={num_workers}"
    runs.train_and_kill(corpus, run_dir, 12, *SETTINGS, workers)
    result = runs.train(corpus, run_dir, *SETTINGS, workers)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Loaded checkpoint" in (run_dir / "hydra_train.log").read_text(encoding="utf-8")
    assert not first_difference(run_dir, undisturbed)
    hours = [record["device_hours"] for _, record in sorted(read_run_log(run_dir).train.items())]
    assert hours == sorted(hours) and hours[-1] > 0  # of the whole run, not since its last start


def test_the_log_is_complete_and_the_loss_falls(undisturbed):
    numbers = runs.logged_numbers(undisturbed)
    assert sorted(numbers["train"]) == list(range(1, 25))
    assert {10, 20, 24} <= set(numbers["valid"])
    assert numbers["valid"][24]["loss_codes_m"] < numbers["valid"][10]["loss_codes_m"]
    wanted = {"loss", "loss_features_pen", "loss_cqt_m", "masked_share", "loss_codes_m", "gnorm", "lr"}
    assert wanted | {f"{term}_m_{k}" for term in ("loss", "correct") for k in range(runs.NUM_CODEBOOKS)} <= set(numbers["train"][1])


def test_every_line_says_how_fast_training_runs(undisturbed):
    records = read_run_log(undisturbed).train
    assert sorted(records) == list(range(1, 25))
    for record in records.values():
        assert record["audio_s_per_s"] > 0 and 0 < record["mfu"] and 0 <= record["data_wait"] <= 1 and record["peak_mem_gb"] > 0.1
    hours = [records[update]["device_hours"] for update in sorted(records)]
    assert hours == sorted(hours)
