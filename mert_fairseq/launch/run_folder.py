"""A run's folders, each of one training at a time.

    RUN_DIR/.hydra/.lock    held by the process that was started: who writes the run's settings and log
    SAVE_DIR/.lock          held by the process that writes checkpoints, which may outlive the one that has started it

Hydra writes settings and opens the log before it calls anything of ours, so the first one is taken before that: a start that is refused
leaves every file as it was.
"""

import contextlib
import functools
import os
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import torch
from omegaconf import OmegaConf, read_write

from mert_fairseq.checkpoint_files import remove_half_written
from mert_fairseq.errors import MertError
from mert_fairseq.folder_lock import sole_use

MEND = "another training runs there: let it end, or give another hydra.run.dir"
WAIT_AFTER_RESTART_S = 300  # for the start before, on a node that Slurm took for lost; the other processes wait twice as long for this one

_taken = contextlib.ExitStack()


def take_before_writing(configure_log: Callable) -> Callable:
    """Wraps Hydra's opening of a job's log, which is the first that it writes; the job of a sweep before this one has ended."""

    @functools.wraps(configure_log)
    def take_and_configure(log_config: Any, verbose_config: Any = False) -> None:
        _taken.close()
        cfg = None if log_config is None else log_config._get_root()
        if cfg is not None and "distributed_training" in cfg and "hydra" in cfg:  # a training of fairseq's
            _check_profile(cfg)
            _take(cfg)
        configure_log(log_config, verbose_config)

    return take_and_configure


def _check_profile(cfg: Any) -> None:
    """fairseq opens CUDA's profiler before it calls anything of ours."""
    if OmegaConf.select(cfg, "common.profile") and not torch.cuda.is_available():
        raise MertError("common.profile=true: fairseq's profiler is CUDA's, and no GPU is seen; leave it out")


def _take(cfg: Any) -> None:
    """For the first of several processes; the others leave Hydra's files to it."""
    if _is_first(cfg, os.environ):
        _taken.enter_context(sole_use(Path(cfg.hydra.runtime.output_dir, cfg.hydra.output_subdir or ".hydra"), MEND, _wait_s()))
        return
    with read_write(cfg.hydra):
        cfg.hydra.output_subdir = None


def _is_first(cfg: Any, environ: Mapping[str, str]) -> bool:
    told = OmegaConf.select(cfg, "distributed_training.distributed_rank") or 0
    return told == 0 and int(environ.get("RANK", environ.get("SLURM_PROCID", 0))) == 0


@contextlib.contextmanager
def sole_writer(save_dir: Path) -> Iterator[None]:
    """The sole right to write checkpoints; what killed runs left half-written goes."""
    with sole_use(save_dir, MEND, _wait_s()):
        remove_half_written(save_dir)
        yield


def _wait_s() -> float:
    """After a restart the start before may still be ending."""
    return WAIT_AFTER_RESTART_S if int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0 else 0
