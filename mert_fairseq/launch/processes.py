"""Which processes train together, read from what started them: torchrun, srun, or a plain command.

Every answer trains something: a launch that would start no process, or another number than was asked for, is refused.
"""

import random
import socket
import subprocess
from dataclasses import dataclass
from typing import Mapping, Optional

from mert_fairseq.errors import MertError

TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PORTS = range(10_000, 32_000)  # of the rendezvous; above, a system takes ports for outgoing connections


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as the one that asks sees them.

    Attributes:
        world_size: how many train together.
        rank: of this process, or of the first one that it starts.
        to_start: processes that this one starts; 0: it trains itself.
        device: number of the GPU, for a process that trains itself.
        init_method: where they meet; None: there is but one.
    """

    world_size: int
    rank: int = 0
    to_start: int = 0
    device: int = 0
    init_method: Optional[str] = None


def find_processes(cfg, num_gpus: int, environ: Mapping[str, str]) -> Processes:
    """Answers from settings and environment.

    Args:
        cfg: fairseq's distributed_training settings; a world size of 1 means "as launched".
        num_gpus: GPUs that this process may use; 0: training on the CPU.
        environ: of this process.

    Raises:
        MertError: they contradict each other, or there is nothing to train on.
    """
    if cfg.distributed_world_size < 1:
        raise MertError(
            f"distributed_training.distributed_world_size={cfg.distributed_world_size}: nothing would be trained; need at least 1"
        )
    if cfg.distributed_init_method is not None:
        return _as_told(cfg, num_gpus)
    if all(name in environ for name in TORCHRUN):
        return _by_torchrun(cfg, num_gpus, environ)
    if int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return _by_srun(cfg, num_gpus, environ)
    if "SLURM_STEP_NUM_TASKS" not in environ and int(environ.get("SLURM_NTASKS", 1)) > 1:
        raise MertError(
            f"this Slurm job has {environ['SLURM_NTASKS']} tasks, but the command was not started with srun, and one process would "
            "train alone; put srun before it, or ask sbatch for one task"
        )
    return _on_this_machine(cfg, num_gpus, environ)


def _as_told(cfg, num_gpus: int) -> Processes:
    """distributed_init_method is given: so are rank and world size."""
    world, rank = cfg.distributed_world_size, cfg.distributed_rank or 0
    if not 0 <= rank < world:
        raise MertError(f"distributed_training.distributed_rank={rank}: need 0 to {world - 1} with distributed_world_size={world}")
    if cfg.distributed_no_spawn:
        return Processes(world, rank, device=cfg.device_id, init_method=cfg.distributed_init_method)
    to_start = min(num_gpus or world, world - rank)
    return Processes(world, rank, to_start, init_method=cfg.distributed_init_method)


def _by_torchrun(cfg, num_gpus: int, environ: Mapping[str, str]) -> Processes:
    world, rank = int(environ["WORLD_SIZE"]), int(environ["RANK"])
    _agree(cfg, world, "torchrun")
    return Processes(world, rank, device=_gpu(int(environ.get("LOCAL_RANK", rank)), num_gpus), init_method="env://" if world > 1 else None)


def _by_srun(cfg, num_gpus: int, environ: Mapping[str, str]) -> Processes:
    """A process per task; or, of one task per node that sees several GPUs, a process per GPU."""
    tasks, nodes = int(environ["SLURM_STEP_NUM_TASKS"]), int(environ.get("SLURM_STEP_NUM_NODES", 1))
    meeting = f"tcp://{_first_host(environ['SLURM_STEP_NODELIST'])}:{_port(cfg, environ)}"
    if tasks == nodes and num_gpus > 1:
        _agree(cfg, tasks * num_gpus, "srun")
        return Processes(tasks * num_gpus, int(environ["SLURM_NODEID"]) * num_gpus, num_gpus, init_method=meeting)
    _agree(cfg, tasks, "srun")
    local = int(environ["SLURM_LOCALID"])
    return Processes(tasks, int(environ["SLURM_PROCID"]), device=_gpu(local, num_gpus), init_method=meeting)


def _on_this_machine(cfg, num_gpus: int, environ: Mapping[str, str]) -> Processes:
    world = cfg.distributed_world_size
    if num_gpus and world > num_gpus:
        raise MertError(
            f"distributed_training.distributed_world_size={world}, but this machine offers {num_gpus} GPUs; "
            f"take at most {num_gpus}, or start it with srun or torchrun on several machines"
        )
    if world == 1:
        return Processes(1)
    return Processes(world, to_start=world, init_method=f"tcp://localhost:{_port(cfg, environ)}")


def _agree(cfg, world: int, launcher: str) -> None:
    if cfg.distributed_world_size not in (1, world):
        raise MertError(
            f"distributed_training.distributed_world_size={cfg.distributed_world_size}, but {launcher} started processes for {world}; "
            "leave that setting out, or start as many"
        )


def _gpu(local: int, num_gpus: int) -> int:
    """The GPU of the local-th process of a node; where each sees its own alone, that one."""
    if num_gpus > 1 and local >= num_gpus:
        raise MertError(f"process {local + 1} of this node has no GPU: there are {num_gpus}; start {num_gpus} per node")
    return local if num_gpus > 1 else 0


def _first_host(nodes: str) -> str:
    """n[1-2] -> n1, by Slurm itself."""
    try:
        return subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise MertError(
            f"SLURM_STEP_NODELIST={nodes}: scontrol does not tell its hosts ({error}); set "
            "distributed_training.distributed_init_method=tcp://FIRST_HOST:PORT, distributed_rank and distributed_no_spawn=true"
        ) from None


def _port(cfg, environ: Mapping[str, str]) -> int:
    """The one that is set; of a Slurm step one that all its tasks find alike; else a free one."""
    if cfg.distributed_port > 0:
        return cfg.distributed_port
    if "SLURM_STEP_ID" in environ:
        start = environ.get("SLURM_RESTART_COUNT", "0")  # what the start before listened at may not be free yet
        return random.Random(f"{environ['SLURM_JOB_ID']}.{environ['SLURM_STEP_ID']}.{start}").choice(PORTS)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]
