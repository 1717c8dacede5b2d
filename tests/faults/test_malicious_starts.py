"""Training that is told to begin from a malicious checkpoint: one line, exit code 1, nothing of the checkpoint is run."""

import argparse

import malicious_files
import pytest
import torch
import training_runs as runs
from malicious_pickles import FORMS, PAYLOADS, PLACES

ONE_UPDATE = ("optimization.max_update=1", "dataset.num_workers=0", "dataset.disable_validation=true")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return runs.build_corpus(tmp_path_factory.mktemp("corpus"), num_train=2, num_valid=1)


@pytest.fixture(scope="module")
def state(corpus, tmp_path_factory):
    """Content of a checkpoint that this training resumes from."""
    run = tmp_path_factory.mktemp("trained") / "run"
    result = runs.train(corpus, run, *ONE_UPDATE)
    assert result.returncode == 0, result.stderr[-2000:]
    return torch.load(run / "checkpoints" / "checkpoint_last.pt")


def begin(faults, corpus, folder, data, setting, canary):
    """Counts what the command did with a checkpoint of these bytes."""
    folder.mkdir()
    (folder / "given.pt").write_bytes(data)
    result = runs.train(corpus, folder / "run", *ONE_UPDATE, f"{setting}={folder / 'given.pt'}")
    text = result.stdout + result.stderr
    said = [line for line in text.splitlines() if line.startswith(f"{folder / 'given.pt'}: ")]
    refused = result.returncode == 1 and len(said) == 1
    outcome = "lost" if canary.exists() else "traceback" if "Traceback" in text else "refused" if refused else "silent"
    faults.record("training from a malicious checkpoint", outcome, text[-3000:])


@pytest.mark.parametrize("setting", ["checkpoint.finetune_from_model", "checkpoint.restore_file"])
def test_a_pickle_that_runs_something(faults, corpus, state, tmp_path, setting):
    for count, place in enumerate(list(PLACES)[: faults.times(1, len(PLACES))]):
        canary = tmp_path / f"canary{count}"
        data = FORMS["zip"](PLACES[place](state, PAYLOADS["os.system"](canary)))
        begin(faults, corpus, tmp_path / str(count), data, setting, canary)


def test_settings_that_fairseq_would_take_for_another_model(faults, corpus, state, tmp_path):
    canary = tmp_path / "canary"
    arguments = argparse.Namespace(arch="hubert", task="hubert_pretraining", data="/", conv_feature_layers=malicious_files.run(canary))
    begin(faults, corpus, tmp_path / "given", malicious_files.saved({**state, "args": arguments}), "checkpoint.restore_file", canary)
