"""Which checkpoint a run goes on from, and that it goes on with the samples behind those it has seen.

Checkpoints are written under a temporary name and renamed; a machine that dies can leave a part of one all the same. Such a file is
named, left where it is, and the one before is taken. A run that saved something never starts from nothing unasked.
"""

import json
import logging
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import torch

from mert_fairseq.checkpoint_files import fill_whole
from mert_fairseq.checkpoints import read_checkpoint
from mert_fairseq.errors import MertError
from mert_fairseq.json_text import parse_json

logger = logging.getLogger(__name__)

MARKER = "last_saved.json"  # beside the checkpoints: that there were some, and up to which update
SAVED_FILE = "MERT_LAST_SAVED"  # environment: a copy of it
RESETS = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader")
NUMBERED = re.compile(r"checkpoint_\d+_(\d+)\.pt")


def choose_checkpoint(path: str, save_dir: str) -> str:
    """The checkpoint to go on from: `path`, or if that is the run's own last one and damaged or gone, the newest whole one.

    Args:
        path: what fairseq would load; of a first start it does not exist.
        save_dir: the run's folder of checkpoints.

    Raises:
        MertError: a file that was asked for is missing, or something was saved here and nothing whole is left.
    """
    last, folder = Path(path), Path(save_dir)
    if last.resolve() != (folder / "checkpoint_last.pt").resolve():
        if not last.is_file():
            raise MertError(f"{last}: no such checkpoint; checkpoint.restore_file names one to go on from")
        return path
    damaged = []
    for candidate in _newest_first(last, folder):
        try:
            read_checkpoint(str(candidate))
        except MertError as error:
            damaged.append(str(error))
            continue
        if damaged or candidate != last:
            said = "; ".join(damaged) or f"{last}: missing"
            logger.warning(f"{said}; going on from {candidate.name}")
        return str(candidate)
    if damaged or (folder / MARKER).exists():
        reason = "; ".join(damaged) or f"update {_last_saved(folder)} was saved here and no checkpoint is left"
        raise MertError(f"{folder}: {reason}; put a checkpoint back, or empty the folder to start the run anew")
    return path


def _newest_first(last: Path, folder: Path) -> List[Path]:
    numbered = {file: NUMBERED.fullmatch(file.name) for file in folder.glob("checkpoint_*.pt")}
    by_update = sorted((file for file, found in numbered.items() if found), key=lambda file: -int(numbered[file][1]))
    return [last] * last.exists() + by_update


def begins_elsewhere(cfg) -> bool:
    """Whether fairseq's checkpoint settings name something to begin from that is not the run's own.

    An own earlier checkpoint (restore_file in save_dir) is a step back that the user wants once: not again when Slurm restarts the job.
    """
    if cfg.finetune_from_model or getattr(cfg, "continue_once", None):
        return True
    if cfg.restore_file == "checkpoint_last.pt":
        return False
    own = Path(cfg.restore_file).resolve().parent == Path(cfg.save_dir).resolve()
    return not own or int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0


def check_beginning(cfg) -> None:
    """Refuses a first start from what is not there, or from two places at once, which fairseq does with a traceback.

    Raises:
        MertError: in one line.
    """
    model = cfg.finetune_from_model
    if model is None:
        return
    others = [f"restore_file={cfg.restore_file}"] * (cfg.restore_file != "checkpoint_last.pt") + [name for name in RESETS if cfg[name]]
    if others:
        raise MertError(f"checkpoint.finetune_from_model={model} with checkpoint.{others[0]}: one of them; it resets all but the weights")
    if not Path(model).is_file():
        raise MertError(f"checkpoint.finetune_from_model={model}: no such checkpoint; name one whose weights training begins with")


def has_own_checkpoints(save_dir: str) -> bool:
    """Whether the run has saved something."""
    folder = Path(save_dir)
    return (folder / MARKER).exists() or bool(_newest_first(folder / "checkpoint_last.pt", folder))


def mark_saved(save_dir: str, num_updates: int) -> None:
    """Notes that the folder holds a checkpoint; also in the file that a batch script names, which knows of no folder."""
    for marker in (Path(save_dir) / MARKER, os.environ.get(SAVED_FILE)):
        if marker:
            fill_whole(str(marker), lambda part: Path(part).write_text(json.dumps({"num_updates": num_updates}), encoding="utf-8"))


def _last_saved(folder: Path) -> Optional[int]:
    try:
        return parse_json((folder / MARKER).read_text(encoding="utf-8"))["num_updates"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_order(position: Dict[str, Any], theirs: Dict[str, Any], ours: Dict[str, Any], accept: bool) -> None:
    """Turns a position in the epoch from the checkpoint's number of processes to the run's, in place.

    An update takes the next (processes x update_freq) batches of the epoch, whatever their share is, so that the order of samples
    stays what it was wherever this product does.

    Args:
        position: fairseq's state of the training iterator; it counts the batches of one process.
        theirs, ours: configuration of the checkpoint and of the run, as plain containers.
        accept: take another global batch.

    Raises:
        MertError: another number of processes changes the global batch, and `accept` is False.
    """
    before, now = _processes(theirs), _processes(ours)
    if before == now:
        return
    epoch = position.get("epoch", 1)
    batches_before, batches_now = before * _update_freq(theirs, epoch), now * _update_freq(ours, epoch)
    if batches_before != batches_now and not accept:
        fits = batches_before % now == 0
        mend = f"set optimization.update_freq=[{batches_before // now}]" if fits else "take another number of processes"
        raise MertError(
            f"the checkpoint is of {before} processes and {batches_before} batches per update, this run would take {batches_now}; {mend} "
            "to keep batch and order of samples, or accept others with task.accept_new_order=true"
        )
    position["iterations_in_epoch"] = position.get("iterations_in_epoch", 0) * before // now
    logger.warning(f"the run continues with {now} processes instead of {before}; an update takes {batches_now} batches")


def _processes(cfg: Dict[str, Any]) -> int:
    return (cfg.get("distributed_training") or {}).get("distributed_world_size") or 1


def _update_freq(cfg: Dict[str, Any], epoch: int) -> int:
    steps = (cfg.get("optimization") or {}).get("update_freq") or [1]
    return steps[min(epoch, len(steps)) - 1]


def check_seen_by_all(path: str) -> None:
    """Refuses a checkpoint that not all processes see alike, as on disks of the nodes' own: they would train different models."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    seen: List[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(seen, os.path.getsize(path) if os.path.isfile(path) else None)
    if len(set(seen)) > 1:
        raise MertError(
            f"{path}: not the same to all processes (bytes seen by each: {seen}); checkpoint.save_dir must lie on a file system that all "
            "nodes share"
        )


def agreed(decide: Callable[[], Any]) -> Any:
    """What the first process decides, in all of them; what it raises, too: none waits for an answer in vain."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not distributed:
        return decide()
    answer: List[Any] = [None]
    failure: Optional[Exception] = None
    if torch.distributed.get_rank() == 0:
        try:
            answer = [decide()]
        except Exception as error:  # noqa: BLE001  passed on below
            failure = error
            answer = [error if isinstance(error, MertError) else RuntimeError(f"the first process: {type(error).__name__}: {error}")]
    torch.distributed.broadcast_object_list(answer, src=0)
    if failure is not None:
        raise failure
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]
