"""Starts training: in this process, or in several that it starts and watches."""

import contextlib
import functools
import logging
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any, Callable

import fairseq_cli.train
import torch
from fairseq.distributed import utils as distributed_utils
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import open_dict

from mert_fairseq.checkpoint_files import full_log_stops
from mert_fairseq.errors import MertError
from mert_fairseq.launch.cpu import prepare_cpu, without_half_precision
from mert_fairseq.launch.fairseq_settings import check_fairseq_settings, check_manifests
from mert_fairseq.launch.interruption import CTRL_C, INTERRUPTED, SIGNALS, interruption
from mert_fairseq.launch.processes import Processes, find_processes
from mert_fairseq.launch.rendezvous import keep_to_this_machine, listening_at_one_address
from mert_fairseq.launch.run_folder import sole_writer

logger = logging.getLogger(__name__)

ACCIDENT = 70  # exit code (EX_SOFTWARE): training broke off by no fault of the input


def launch(stock: Callable) -> Callable:
    """Takes the place of fairseq's call_main."""

    @functools.wraps(stock)
    def call_main(cfg, main: Callable, **options: Any) -> None:
        """Trains; what breaks by no fault of the input ends the process with ACCIDENT."""
        if cfg.common.tpu or cfg.distributed_training.pipeline_model_parallel:
            return stock(cfg, main, **options)
        try:
            with full_log_stops():
                _launch(cfg, main, options)
        except HydraException:
            raise  # a fault of the input: one line, exit code 1
        except Exception:
            if not HydraConfig.initialized() or "SUBMITIT_EXECUTOR" in os.environ:
                raise  # a caller that wants to know
            logger.exception("training broke off; the same command goes on from the last checkpoint")
            sys.exit(ACCIDENT)

    return call_main


def _launch(cfg, main: Callable, options: dict) -> None:
    interruption.listen()
    check_fairseq_settings(cfg)
    if main is fairseq_cli.train.main:
        check_manifests(cfg)
    _check_device(cfg)
    if _num_gpus(cfg) == 0:
        without_half_precision(cfg)
    processes = find_processes(cfg.distributed_training, _num_gpus(cfg), os.environ)
    _settle(cfg, processes)
    train = functools.partial(run, main)
    if processes.to_start:
        _start(cfg, train, processes, options)
    elif processes.init_method is None:
        train(cfg, **options)
    else:
        distributed_utils.distributed_main(processes.device, train, cfg, options)
    interruption.end()


def run(main: Callable, cfg, **options: Any) -> None:
    """What each process does: listens for signals, and trains."""
    parent = multiprocessing.parent_process()
    interruption.listen(starter=None if cfg.distributed_training.distributed_no_spawn or parent is None else parent.pid)
    # A process that was spawned would spawn its loader processes too, which takes seconds an epoch and copies the targets.
    torch.multiprocessing.set_start_method("fork", force=True)
    if _num_gpus(cfg) == 0:
        prepare_cpu(cfg)
    writes = main is fairseq_cli.train.main and cfg.distributed_training.distributed_rank == 0
    with full_log_stops(), sole_writer(Path(cfg.checkpoint.save_dir)) if writes else contextlib.nullcontext():
        main(cfg, **options)


def _num_gpus(cfg) -> int:
    return 0 if cfg.common.cpu or not torch.cuda.is_available() else torch.cuda.device_count()


def _check_device(cfg) -> None:
    """Training meant for a GPU does not go to the CPU in silence."""
    if cfg.common.cpu or torch.cuda.is_available():
        return
    given = os.environ.get("SLURM_STEP_GPUS") or os.environ.get("SLURM_GPUS_ON_NODE") or os.environ.get("SLURM_JOB_GPUS")
    if given and given != "0":
        raise MertError(
            f"this job was given GPUs ({given}), but torch {torch.__version__} sees none: look at the node's driver (nvidia-smi) and "
            "install a torch with CUDA; or train on the CPU with common.cpu=true"
        )
    logger.warning("no GPU is seen: training on the CPU; common.cpu=true says that this is meant")


def _settle(cfg, processes: Processes) -> None:
    """Writes the answer where fairseq reads it."""
    settings = cfg.distributed_training
    told = settings.get("distributed_port", 0) > 0 or settings.distributed_init_method is not None or processes.init_method == "env://"
    with open_dict(cfg):
        settings.distributed_world_size, settings.distributed_rank = processes.world_size, processes.rank
        settings.distributed_init_method, settings.device_id = processes.init_method, processes.device
        if processes.init_method is not None:
            keep_to_this_machine(processes.init_method)
            settings.distributed_init_method = listening_at_one_address(processes.init_method, os.environ, told)
        settings.distributed_no_spawn = processes.to_start == 0
        if processes.to_start:
            settings.distributed_num_procs = processes.to_start
        if _num_gpus(cfg) == 0:
            settings.distributed_backend = "gloo"
        if settings.ddp_backend in ("c10d", "pytorch_ddp") and getattr(cfg.model, "encoder_layerdrop", 0) > 0:
            settings.find_unused_parameters = True  # a dropped layer's parameters get no gradient
    if processes.world_size > 1:
        # Else the first sends it to the others as a pickle, which torch's safe loader refuses there.
        cfg.checkpoint.load_checkpoint_on_all_dp_ranks = True
        logger.info(f"{processes.world_size} processes train together; they meet at {processes.init_method}")


def _start(cfg, train: Callable, processes: Processes, options: dict) -> None:
    """Starts processes, passes signals on to them, and ends as they do."""
    cfg.distributed_training.distributed_rank = None  # each finds its own
    # What they inherit until they listen; SIGTERM ends one that waits for others in vain.
    unheard = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2, CTRL_C))
    started = torch.multiprocessing.spawn(
        distributed_utils.distributed_main, (train, cfg, {**options, "start_rank": processes.rank}), processes.to_start, join=False
    )

    def send(number: int, frame: Any = None) -> None:
        for process in started.processes:
            if process.is_alive():
                os.kill(process.pid, number)

    for number in SIGNALS:
        signal.signal(number, send)
    interruption.save_on_ctrl_c(tell=lambda: send(signal.SIGUSR2))
    signal.pthread_sigmask(signal.SIG_SETMASK, unheard)
    try:
        while not started.join():
            pass
    except torch.multiprocessing.ProcessExitedException as error:
        if error.exit_code != INTERRUPTED:
            raise
        if interruption.received == CTRL_C:
            interruption.hand_on()
        interruption.end()
        sys.exit(INTERRUPTED)
    except torch.multiprocessing.ProcessRaisedException as error:
        last = str(error).strip().rsplit("\n", 1)[-1]
        name, _, message = last.partition(": ")
        if name == f"{MertError.__module__}.{MertError.__qualname__}":
            raise MertError(message) from None
        raise
