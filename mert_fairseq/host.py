"""What stock fairseq lacks on current torch, applied when the package is imported; fairseq's files are not touched.

- its checkpoints load with torch's safe loader (the classes they may hold are named here);
- a wrong configuration key or a foreign checkpoint gives one line instead of a traceback;
- checkpoint_last.pt is replaced in one step;
- without a GPU, freed memory is kept for the next step.
"""

import argparse
import functools
import logging
import os

# Its import advertises an optional package at level INFO.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

import torch
from fairseq.data.dictionary import Dictionary
from fairseq.dataclass import utils as dataclass_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from mert_fairseq.allocator import keep_freed_memory
from mert_fairseq.checkpoints import check_resumable
from mert_fairseq.errors import MertError


def _name_wrong_keys(merge):
    """Wraps fairseq's merge of a config group with its data class."""

    @functools.wraps(merge)
    def merge_with_parent(dc, cfg, remove_missing=False):
        """fairseq's merge; a key or value that the data class does not take becomes a MertError of one line."""
        try:
            return merge(dc, cfg, remove_missing)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            if isinstance(error, ConfigKeyError):
                reason += f"; allowed: {', '.join(sorted(key for key in dc.__dataclass_fields__ if key != '_name'))}"
            raise MertError(f"configuration of {cfg.get('_name')!r}: {reason}") from None  # Hydra would print the cause too

    return merge_with_parent


def _check_before_resume(load):
    """Wraps the trainer's loading of the checkpoint it resumes from."""

    @functools.wraps(load)
    def load_checkpoint(self, filename, *args, **kwargs):
        if os.path.isfile(filename):
            cfg = OmegaConf.to_container(self.cfg, resolve=True, enum_to_str=True) if OmegaConf.is_config(self.cfg) else {}
            check_resumable(filename, self.get_model(), cfg)
        return load(self, filename, *args, **kwargs)

    return load_checkpoint


def _copy_whole(copy):
    """Wraps fairseq's copy of a checkpoint to checkpoint_last.pt: a kill in the middle leaves the old one, not a part of the new."""

    @functools.wraps(copy)
    def copy_then_rename(source, target, overwrite=False):
        if not copy(source, f"{target}.part", overwrite=True):
            return False
        os.replace(f"{target}.part", target)
        return True

    return copy_then_rename


if not torch.cuda.is_available():
    keep_freed_memory()
torch.serialization.add_safe_globals([Dictionary, argparse.Namespace])
dataclass_utils.merge_with_parent = _name_wrong_keys(dataclass_utils.merge_with_parent)
PathManager.copy = staticmethod(_copy_whole(PathManager.copy))
Trainer.load_checkpoint = _check_before_resume(Trainer.load_checkpoint)
