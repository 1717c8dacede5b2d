"""slurm/pretrain.sbatch on two nodes: the processes train one model, the same that a single process trains with the same global batch."""

from pathlib import Path

import numpy as np
import pytest
import training_runs as runs
from record_parameters import FOLDER, parameters_file

UPDATES = 5
SETTINGS = (
    f"optimization.max_update={UPDATES}",
    "lr_scheduler.warmup_updates=1",  # full steps from the first update on
    "model.dropout=0.1",
    "model.mixture_prob=0.5",
    "dataset.validate_interval_updates=5",
    "+hydra.callbacks.record._target_=record_parameters.Record",
)


def recording(environment, folder) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    return {**environment, "PYTHONPATH": str(Path(__file__).parent), FOLDER: str(folder)}


def parameters(folder, rank) -> np.ndarray:
    """After each update: [updates, parameters]."""
    return np.stack([np.load(parameters_file(folder, rank, update)) for update in range(1, UPDATES + 1)])


@pytest.fixture(scope="module")
def single(cluster, corpus, tmp_path_factory):
    """One process that takes the batches of two before each update."""
    folder = tmp_path_factory.mktemp("single")
    command = runs.command(corpus, folder / "run", *SETTINGS, "optimization.update_freq=[2]")
    result = cluster.run(*command, env=recording(cluster.environment, folder))
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.mark.parametrize("backend", ["legacy_ddp", "pytorch_ddp"])
@pytest.mark.parametrize("nodes", ["cluster", "separate_cluster"])
def test_two_nodes_train_what_one_process_trains(nodes, backend, request, pretrain, single, tmp_path):
    slurm = request.getfixturevalue(nodes)
    ddp = f"distributed_training.ddp_backend={backend}"
    job = pretrain(slurm, tmp_path, *SETTINGS, ddp, env=recording(slurm.environment, tmp_path)).wait()
    assert job.states() == ["COMPLETED"], job.log()[-6000:]
    ours, other, wanted = parameters(tmp_path, 0), parameters(tmp_path, 1), parameters(single, 0)
    assert (ours == other).all()
    assert (np.abs(np.diff(wanted, axis=0)).max(axis=1) > 1e-4).all()  # every update moves
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=2e-5)
    numbers, of_one = runs.logged_numbers(tmp_path / "run"), runs.logged_numbers(single / "run")
    for update in range(1, UPDATES + 1):
        assert numbers["train"][update]["loss"] == pytest.approx(of_one["train"][update]["loss"], rel=1e-3)
