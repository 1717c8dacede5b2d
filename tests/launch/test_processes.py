"""Which processes train together, by what started them; and the launches that would train nothing."""

import subprocess
from types import SimpleNamespace

import pytest

from mert_fairseq.errors import MertError
from mert_fairseq.launch.processes import Processes, find_processes

TORCHRUN = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"}
STEP = {
    "SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NTASKS": "4",
}  # fmt: skip
ONE_TASK_A_NODE = {**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_NTASKS": "2"}


def settings(**changes):
    defaults = {
        "distributed_world_size": 1, "distributed_init_method": None, "distributed_no_spawn": False, "distributed_rank": 0,
        "distributed_port": 29671, "device_id": 0,
    }  # fmt: skip
    return SimpleNamespace(**{**defaults, **changes})


@pytest.fixture(autouse=True)
def scontrol(monkeypatch):
    """Slurm's own expansion of a list of nodes."""
    answer = SimpleNamespace(stdout="n1\nn2\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)


def test_one_process_needs_no_meeting():
    assert find_processes(settings(), 0, {}) == Processes(1)
    assert find_processes(settings(), 8, {}) == Processes(1)


@pytest.mark.parametrize("num_gpus", [0, 4])
def test_several_processes_on_this_machine(num_gpus):
    found = find_processes(settings(distributed_world_size=4), num_gpus, {})
    assert found == Processes(4, to_start=4, init_method="tcp://localhost:29671")


def test_a_free_port_is_found_where_none_is_set():
    found = find_processes(settings(distributed_world_size=2, distributed_port=-1), 0, {})
    assert 1024 <= int(found.init_method.rsplit(":", 1)[1]) < 65536


@pytest.mark.parametrize("num_gpus,device", [(0, 0), (1, 0), (4, 1)])
@pytest.mark.parametrize("world", [1, 8])
def test_torchrun(num_gpus, device, world):
    found = find_processes(settings(distributed_world_size=world), num_gpus, TORCHRUN)
    assert found == Processes(8, 5, device=device, init_method="env://")


@pytest.mark.parametrize("num_gpus,device", [(0, 0), (1, 0), (2, 1)])
def test_a_process_per_task_of_srun(num_gpus, device):
    assert find_processes(settings(), num_gpus, STEP) == Processes(4, 3, device=device, init_method="tcp://n1:29671")


def test_a_task_per_node_starts_a_process_per_gpu():
    found = find_processes(settings(), 8, ONE_TASK_A_NODE)
    assert found == Processes(16, 8, to_start=8, init_method="tcp://n1:29671")
    assert find_processes(settings(), 0, ONE_TASK_A_NODE) == Processes(2, 1, init_method="tcp://n1:29671")


def test_all_tasks_of_a_step_find_the_same_port_and_other_steps_another():
    ports = set()
    for step in "0", "1":
        found = {
            find_processes(settings(distributed_port=-1), 0, {**STEP, "SLURM_STEP_ID": step, "SLURM_PROCID": rank}).init_method
            for rank in "0123"
        }
        assert len(found) == 1
        ports |= found
    assert len(ports) == 2


def test_what_is_told_is_done():
    told = settings(distributed_world_size=4, distributed_init_method="tcp://a:1", distributed_rank=2)
    assert find_processes(told, 2, STEP) == Processes(4, 2, to_start=2, init_method="tcp://a:1")
    assert find_processes(told, 0, {}) == Processes(4, 2, to_start=2, init_method="tcp://a:1")
    told.distributed_no_spawn, told.device_id = True, 1
    assert find_processes(told, 2, STEP) == Processes(4, 2, device=1, init_method="tcp://a:1")


@pytest.mark.parametrize(
    "changes,num_gpus,environ,message",
    [
        ({"distributed_world_size": 0}, 0, {}, "distributed_world_size=0: nothing would be trained"),
        ({"distributed_init_method": "tcp://a:1", "distributed_rank": 2}, 0, {}, "distributed_rank=2: need 0 to 0"),
        ({"distributed_world_size": 3}, 2, {}, "offers 2 GPUs; take at most 2"),
        ({"distributed_world_size": 4}, 0, TORCHRUN, "world_size=4, but torchrun started processes for 8"),
        ({"distributed_world_size": 3}, 0, STEP, "world_size=3, but srun started processes for 4"),
        ({"distributed_world_size": 2}, 8, ONE_TASK_A_NODE, "world_size=2, but srun started processes for 16"),
        ({}, 2, {**STEP, "SLURM_LOCALID": "2"}, "process 3 of this node has no GPU: there are 2"),
        ({}, 0, {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "2"}, "this Slurm job has 2 tasks.*put srun before it"),
    ],
)
def test_launches_that_train_nothing_or_another_number_are_refused(changes, num_gpus, environ, message):
    with pytest.raises(MertError, match=message):
        find_processes(settings(**changes), num_gpus, environ)


def test_without_scontrol_the_way_out_is_named(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("scontrol")

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(MertError, match="distributed_init_method=tcp://FIRST_HOST:PORT"):
        find_processes(settings(), 0, STEP)
