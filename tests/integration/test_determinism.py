"""The same seed gives the same numbers, bit for bit: with any number of loader workers, resumed behind any update, by one process or two.

tests/faults/test_resumed_anywhere.py goes through all updates, and mixes the three.
"""

import json
import shutil

import pytest
import torch
import training_runs as runs
from same_numbers import first_difference, logged_difference, tensor_difference

from mert_fairseq.checkpoints import read_checkpoint
from mert_fairseq.report.run_log import LOG_NAME

# 36 crops, 2 a batch, 2 batches an update: the first epoch ends with update 9.
SETTINGS = (
    "optimization.max_update=12",
    "checkpoint.save_interval_updates=1",
    "checkpoint.keep_interval_updates=-1",
    "checkpoint.no_epoch_checkpoints=false",
    "checkpoint.save_interval=1",
    "task.max_valid_crops=4",  # there is a validation with each checkpoint
    "model.mixture_prob=0.5",
    "model.dropout=0.1",
    "model.encoder_layerdrop=0.2",
)
ONE_PROCESS = ("optimization.update_freq=[2]",)
TWO_PROCESSES = ("optimization.update_freq=[1]", "distributed_training.distributed_world_size=2")


def train(corpus, run_dir, *overrides):
    result = runs.train(corpus, run_dir, *SETTINGS, *overrides)
    assert result.returncode == 0, result.stderr[-2000:]
    return run_dir


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return runs.build_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def reference(corpus, tmp_path_factory):
    """One process that loads its batches itself, undisturbed."""
    return train(corpus, tmp_path_factory.mktemp("reference") / "run", *ONE_PROCESS, "dataset.num_workers=0")


@pytest.mark.parametrize("num_workers", [1, 4])
def test_any_number_of_loader_workers(corpus, reference, tmp_path, num_workers):
    run_dir = train(corpus, tmp_path / "run", *ONE_PROCESS, f"dataset.num_workers={num_workers}")
    assert not first_difference(run_dir, reference)


@pytest.mark.parametrize("update", [1, 9], ids=["the first", "the epoch's last"])  # mid-epoch: test_resume
def test_a_resume_behind_any_update(corpus, reference, tmp_path, update):
    runs.begin_at(tmp_path / "run", reference, update)
    run_dir = train(corpus, tmp_path / "run", *ONE_PROCESS, "dataset.num_workers=0")
    assert f"@ {update} updates" in (run_dir / LOG_NAME).read_text(encoding="utf-8")
    assert not first_difference(run_dir, reference, after=update)


def test_two_processes_with_the_same_global_batch(corpus, reference, tmp_path):
    """Two gradients add up to the same whichever comes first; with more of them, as of a validation's batches, last bits may differ."""
    run_dir = train(corpus, tmp_path / "run", *TWO_PROCESSES, "dataset.num_workers=0")
    assert not first_difference(run_dir, reference, splits=["train"])
    validations = [runs.logged_numbers(folder)["valid"] for folder in (run_dir, reference)]
    ours, theirs = ({update: record["loss"] for update, record in found.items()} for found in validations)
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_frozen_convolution_stack_keeps_its_weights(corpus, tmp_path, processes):
    """Weight decay does not shrink what is not trained."""
    frozen = ("model.feature_grad_mult=0.0", "optimizer.weight_decay=0.5", "optimization.max_update=3", "dataset.num_workers=0")
    run_dir = train(corpus, tmp_path / "run", *frozen, f"distributed_training.distributed_world_size={processes}")
    first, last = (read_checkpoint(str(run_dir / "checkpoints" / f"checkpoint_1_{update}.pt"))["model"] for update in (1, 3))
    changed = {name for name, tensor in first.items() if not torch.equal(tensor, last[name])}
    assert "post_extract_proj.weight" in changed and not [name for name in changed if name.startswith("feature_extractor")]


def edit_checkpoint(run_dir, edit):
    path = run_dir / "checkpoints" / "checkpoint_last.pt"
    state = torch.load(path, weights_only=True)
    edit(state)
    torch.save(state, path)


def test_a_difference_would_be_seen_and_named(reference, tmp_path):
    def next_float(state):
        state["model"]["final_proj.weight"][3, 1] = torch.nextafter(state["model"]["final_proj.weight"][3, 1], torch.tensor(9.0))

    def other_moment(state):
        state["last_optimizer_state"]["state"][0]["exp_avg"].view(-1)[-1] += 1

    copy = shutil.copytree(reference, tmp_path / "copy")
    assert first_difference(copy, reference) == ""
    edit_checkpoint(copy, next_float)
    assert tensor_difference(copy, reference).startswith("model.final_proj.weight[3, 1] is ")
    assert "(1 of " in first_difference(copy, reference)
    shutil.copyfile(reference / "checkpoints" / "checkpoint_last.pt", copy / "checkpoints" / "checkpoint_last.pt")
    edit_checkpoint(copy, other_moment)
    assert first_difference(copy, reference).startswith("last_optimizer_state.state.0.exp_avg[")
    edit_checkpoint(copy, lambda state: state["model"].pop("final_proj.weight"))
    assert tensor_difference(copy, reference) == "model.final_proj.weight is of one checkpoint alone"


def test_a_logged_difference_would_be_seen_and_named(reference, tmp_path):
    copy = shutil.copytree(reference, tmp_path / "copy")
    lines = (reference / LOG_NAME).read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = [number for number, line in enumerate(lines) if '"num_updates": "7"' in line and "train_inner" in line]
    start = lines[place].index("{")
    record = json.loads(lines[place][start:])
    changed = {**record, "gnorm": "1.5"}
    (copy / LOG_NAME).write_text("".join([*lines[:place], lines[place][:start] + json.dumps(changed) + "\n", *lines[place + 1 :]]))
    assert logged_difference(copy, reference) == f"train, update 7: gnorm is 1.5, {float(record['gnorm'])} wanted"
    (copy / LOG_NAME).write_text("".join([*lines[:place], *lines[place + 1 :]]))
    assert first_difference(copy, reference) == "train: update 7 was logged by the other alone"
