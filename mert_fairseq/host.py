"""What stock fairseq lacks on current torch, applied when the package is imported; fairseq's files are not touched.

- its checkpoints load with torch's safe loader (the classes they may hold are named here), published ones of MERT too;
- a wrong configuration key or a foreign checkpoint gives one line instead of a traceback;
- a run folder is of one training at a time, taken before Hydra writes there;
- processes are started as the launcher means it, on GPUs or CPUs, and a scheduler's signal stops them with a checkpoint;
- a damaged last checkpoint is passed over for the one before, and the order of samples outlives another number of processes;
- settings that cannot work are one line, before the first update;
- an update whose gradient is not finite is skipped; layer drop means the same in one process as in several;
- checkpoints are replaced in one step, and a full disk is one line;
- without a GPU, freed memory is kept for the next step.
"""

import argparse
import functools
import logging
import os

# Its import advertises an optional package at level INFO.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

import fairseq_cli.train
import hydra.core.utils
import torch
from fairseq import checkpoint_utils
from fairseq.data.dictionary import Dictionary
from fairseq.dataclass import utils as dataclass_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer
from omegaconf import OmegaConf, open_dict

from mert_fairseq.allocator import give_back_freed_memory, keep_freed_memory
from mert_fairseq.checkpoint_files import copy_whole, save_whole
from mert_fairseq.checkpoints import check_resumable, take_published
from mert_fairseq.errors import MertError
from mert_fairseq.launch.best_metric import check_best_metric
from mert_fairseq.launch.interruption import interruption
from mert_fairseq.launch.optimizer_settings import check_first_rate
from mert_fairseq.launch.run_folder import take_before_writing
from mert_fairseq.launch.start import launch
from mert_fairseq.resume import (
    agreed,
    begins_elsewhere,
    check_beginning,
    check_seen_by_all,
    choose_checkpoint,
    has_own_checkpoints,
    keep_order,
    mark_saved,
)
from mert_fairseq.tasks.nonfinite import guarded
from mert_fairseq.wrong_keys import name_wrong_keys

logger = logging.getLogger(__name__)


def _resume(load):
    """Wraps the trainer's loading of the checkpoint it resumes from."""

    @functools.wraps(load)
    def load_checkpoint(self, filename, *args, **kwargs):
        """fairseq's, from the run's newest whole checkpoint, at the same place in the order of samples."""
        filename = agreed(lambda: choose_checkpoint(filename, self.cfg.checkpoint.save_dir))
        check_seen_by_all(filename)
        if not os.path.isfile(filename):
            return load(self, filename, *args, **kwargs)
        cfg = OmegaConf.to_container(self.cfg, resolve=True, enum_to_str=True) if OmegaConf.is_config(self.cfg) else {}
        theirs, of_task = check_resumable(filename, self.get_model(), cfg)
        extra_state = load(self, filename, *args, **kwargs)
        if extra_state is not None:
            keep_order(extra_state["train_iterator"], theirs, cfg, accept=bool((cfg.get("task") or {}).get("accept_new_order")))
            if hasattr(self.task, "go_on_from") and not self.cfg.checkpoint.finetune_from_model:
                self.task.go_on_from(of_task, same_data=not self.cfg.checkpoint.reset_dataloader)
        return extra_state

    return load_checkpoint


def _own_first(load):
    """Wraps the choice of where a run begins: what it begins from is for its first start, after that its own checkpoints count."""

    @functools.wraps(load)
    def load_checkpoint(cfg, trainer, **kwargs):
        """fairseq's, with settings that name the run's own checkpoints once there are some."""
        if agreed(lambda: begins_elsewhere(cfg) and has_own_checkpoints(cfg.save_dir)):
            logger.warning(f"going on from the run's own checkpoints in {cfg.save_dir}; what it began from is not loaded again")
            with open_dict(cfg):
                cfg.restore_file, cfg.finetune_from_model, cfg.continue_once = "checkpoint_last.pt", None, None
                cfg.reset_optimizer = cfg.reset_lr_scheduler = cfg.reset_meters = cfg.reset_dataloader = False
        agreed(lambda: check_beginning(cfg))
        begun = load(cfg, trainer, **kwargs)
        if trainer.get_num_updates() == 0:
            check_first_rate(trainer.get_lr(), trainer.cfg)
        check_best_metric(trainer)
        return begun

    return load_checkpoint


def _mark(save):
    """Wraps the trainer's saving."""

    @functools.wraps(save)
    def save_checkpoint(self, filename, extra_state):
        """fairseq's; the run folder notes the update, and a CPU gives back what saving took."""
        path = save(self, filename, extra_state)
        if self.is_data_parallel_master and os.path.basename(filename).startswith("checkpoint"):  # not crash.pt
            mark_saved(os.path.dirname(filename), self.get_num_updates())
        if not self.cuda:  # training on a CPU alone keeps freed memory
            give_back_freed_memory()
        return path

    return save_checkpoint


def _stop_when_asked(validate_and_save):
    """Wraps what fairseq does after each update: where a process was signalled, all save and then stop, each by the signal's rule."""

    @functools.wraps(validate_and_save)
    def save_and_stop(cfg, trainer, task, epoch_itr, *args, **kwargs):
        """fairseq's; where a stop was asked for it does not return."""
        if not getattr(task, "stop_requested", False):
            return validate_and_save(cfg, trainer, task, epoch_itr, *args, **kwargs)
        checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, None)  # at once: there may be no time for more
        validate_and_save(cfg, trainer, task, epoch_itr, *args, **kwargs)  # what is due now will not be due after the restart
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the end of one process ends the others
        interruption.hand_on()

    return save_and_stop


def _end_when_done(train):
    """Wraps fairseq's epoch of training: it looks at max_update behind an update, and would give a finished run one more."""

    @functools.wraps(train)
    def train_epoch(cfg, trainer, task, epoch_itr):
        if trainer.get_num_updates() < (cfg.optimization.max_update or float("inf")):
            return train(cfg, trainer, task, epoch_itr)
        logger.info(f"update {trainer.get_num_updates()} of optimization.max_update={cfg.optimization.max_update}: nothing left to train")
        return [None], True

    return train_epoch


def _judge_gradient(clip):
    """Wraps the trainer's look at the gradient, all processes' sum."""

    @functools.wraps(clip)
    def clip_grad_norm(self, clip_norm):
        """fairseq's; raises SkippedUpdate or MertError where the gradient is not finite."""
        _fill_absent_gradients(self.get_model())
        judged = hasattr(self.task, "judge_gradient") and not self.cfg.common.amp  # AMP's scaler judges by itself
        try:
            norm = clip(self, clip_norm)
        except OverflowError:  # half precision: the loss scale is too large, or the loss is no number
            if judged and self.task.nonfinite.any_bad_loss():
                self.task.judge_gradient(float("nan"), self.get_criterion())
            raise
        except FloatingPointError as error:  # half precision at its smallest loss scale
            if not judged:
                raise
            raise MertError(f"{str(error).splitlines()[0]} {self.task.nonfinite.culprits()}") from None
        if judged:
            self.task.judge_gradient(norm, self.get_criterion())
        return norm

    return clip_grad_norm


def _fill_absent_gradients(model) -> None:
    """A dropped layer has a gradient of zeros in several processes and none in one, where Adam would leave it alone: zeros in both.

    Nothing else gets any: weight decay would shrink what takes no part.
    """
    encoder = getattr(model, "encoder", None)
    if getattr(encoder, "layerdrop", 0) <= 0:
        return
    for parameter in encoder.layers.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


if not torch.cuda.is_available():
    keep_freed_memory()
torch.serialization.add_safe_globals([Dictionary, argparse.Namespace])
dataclass_utils.merge_with_parent = name_wrong_keys(dataclass_utils.merge_with_parent)
PathManager.copy = staticmethod(copy_whole(PathManager.copy))
checkpoint_utils.torch_persistent_save = save_whole(checkpoint_utils.torch_persistent_save)
checkpoint_utils.load_checkpoint_to_cpu = take_published(checkpoint_utils.load_checkpoint_to_cpu)
checkpoint_utils.load_checkpoint = _own_first(checkpoint_utils.load_checkpoint)
Trainer.load_checkpoint = _resume(Trainer.load_checkpoint)
Trainer.save_checkpoint = _mark(Trainer.save_checkpoint)
Trainer.clip_grad_norm = _judge_gradient(Trainer.clip_grad_norm)
Trainer.train_step = guarded(Trainer.train_step)
fairseq_cli.train.train = _end_when_done(fairseq_cli.train.train)
fairseq_cli.train.validate_and_save = _stop_when_asked(fairseq_cli.train.validate_and_save)
hydra.core.utils.configure_log = take_before_writing(hydra.core.utils.configure_log)
distributed_utils.call_main = launch(distributed_utils.call_main)
