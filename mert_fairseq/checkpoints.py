"""Reading fairseq checkpoints safely, and refusing to resume from one that is not this run's."""

import functools
import logging
import os
import struct
import zipfile
from pickle import UnpicklingError
from typing import Any, Dict, Iterator, List, Tuple

import torch
from torch import nn

from mert_fairseq.checkpoint_limits import check_archive, check_values
from mert_fairseq.class_ids import NUM_SPECIALS
from mert_fairseq.errors import MertError

logger = logging.getLogger(__name__)

#: Parts of the configuration that decide what a run computes; a change is allowed, and said.
DECISIVE = ("task", "model", "criterion", "optimizer", "lr_scheduler", "optimization", "dataset")

#: What torch's loader has been seen to raise on damaged files, besides its own refusals.
DAMAGED = (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError)
DAMAGED += (MemoryError, struct.error, zipfile.BadZipFile)

OLDER_FORM = "holds its settings in fairseq's older form (args); wanted is one with a 'cfg'"


def read_checkpoint(path: str) -> Dict[str, Any]:
    """The checkpoint's content by torch's safe loader, tensors memory-mapped.

    Raises:
        MertError: missing, truncated, not a checkpoint, or a pickle that would run code (which is not run).
    """
    state = read_pickled(path, "not a checkpoint", "put a whole one in its place")
    weights = state.get("model") if isinstance(state, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise MertError(f"{path}: not a fairseq checkpoint (no weights under 'model')")
    parts = [state.get("cfg"), state.get("task_state")]
    parts += list(parts[0].values()) if isinstance(parts[0], dict) else []
    if any(part is not None and not isinstance(part, dict) for part in parts):
        raise MertError(f"{path}: not a fairseq checkpoint (its 'cfg' or 'task_state' holds no settings by name)")
    return state


def read_pickled(path: str, otherwise: str, mend: str) -> Any:
    """What torch saved in a file; nothing in it is run.

    Args:
        otherwise: what a damaged file might be, besides truncated.
        mend: what to do about it.
    """
    if os.path.isdir(path):
        raise MertError(f"{path}: a folder, a checkpoint wanted: RUN_DIR/checkpoints/checkpoint_last.pt, or one by `mert import`")
    try:
        archive = zipfile.is_zipfile(path)
        if archive:
            check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
        check_values(content, os.path.getsize(path))
        return content
    except FileNotFoundError:
        raise MertError(f"{path}: no such checkpoint") from None
    except (*DAMAGED, UnpicklingError) as error:
        if isinstance(error, UnpicklingError) and "Unsupported operand" not in str(error):  # those are bytes of no pickle
            raise MertError(f"{path}: refused, unread: {_first_line(error)}") from error
        raise MertError(f"{path}: truncated or {otherwise} ({_first_line(error)}); {mend}") from error


def check_is_mert(path: str, state: Dict[str, Any]) -> None:
    """Refuses the checkpoint of another model, and says which."""
    cfg = state.get("cfg") or {}
    name = (cfg.get("model") or {}).get("_name") or getattr(state.get("args"), "arch", None)
    if name == "mert" and not isinstance(cfg.get("model"), dict):
        raise MertError(f"{path}: {OLDER_FORM}")
    if name != "mert":
        hint = "; a plain HuBERT: it has no settings of MERT's" if name == "hubert" else ""
        raise MertError(f"{path}: a checkpoint of the model {name!r}, wanted 'mert'{hint}")


def codebook_sizes(state: Dict[str, Any]) -> List[int]:
    """V of each codebook of a MERT checkpoint; [] if it does not tell.

    As this package's task keeps them; else of the dictionaries that fairseq's HuBERT task keeps; else of the label embeddings, which
    published codebooks share equally.
    """
    task, weights = state.get("task_state") or {}, state["model"]
    try:
        if task.get("codebook_sizes") or task.get("dictionaries"):
            return [int(size) for size in task.get("codebook_sizes") or [len(one) - NUM_SPECIALS for one in task["dictionaries"]]]
        rows, width = weights["label_embs_concat"].shape
        num_codebooks = max(1, len(weights["final_proj.weight"]) // width)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return []
    return [rows // num_codebooks - NUM_SPECIALS] * num_codebooks


def is_fixed_transform(name: str) -> bool:
    """Whether a weight of a published checkpoint is part of its CQT transform, which has nothing to learn and is computed here."""
    return name.startswith("encoder_cqt_model.") and not name.startswith("encoder_cqt_model.fc.")


def in_own_layout(state: Dict[str, Any]) -> Dict[str, Any]:
    """The same content as this package's training writes it, in place; published checkpoints then load as own ones do."""
    state["task_state"] = {**(state.get("task_state") or {}), "codebook_sizes": codebook_sizes(state)}
    state["model"] = {name: tensor for name, tensor in state["model"].items() if not is_fixed_transform(name)}
    return state


def take_published(load):
    """Wraps fairseq's reading of a checkpoint for training, `load_model_ensemble_and_task` and others."""

    @functools.wraps(load)
    def load_checkpoint_to_cpu(*args, **kwargs):
        """fairseq's; a MERT of the published layout comes as one of this package's."""
        state = load(*args, **kwargs)
        model = (state.get("cfg") or {}).get("model")
        return in_own_layout(state) if model is not None and model.get("_name") == "mert" else state

    return load_checkpoint_to_cpu


def check_resumable(path: str, model: nn.Module, cfg: Dict[str, Any]) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Refuses a checkpoint whose weights do not fit `model`; warns of settings that differ; returns its configuration and its task's state.

    Args:
        cfg: the present run's configuration as plain containers.
    """
    state = read_checkpoint(path)
    if state.get("args") is not None:  # which fairseq would prefer to its cfg, and look for what they name
        raise MertError(f"{path}: {OLDER_FORM}")
    theirs = {name: tuple(tensor.shape) for name, tensor in state["model"].items()}
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    changed = list(_changed_settings(state.get("cfg") or {}, cfg))
    if theirs != ours:
        wrong = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
        settings = "; ".join(text for text in changed if text.startswith("model.")) or "see its cfg"
        raise MertError(
            f"{path}: made with another configuration ({len(wrong)} weights differ, first {wrong[0]}: {theirs.get(wrong[0])} there, "
            f"{ours.get(wrong[0])} here; {settings}); give that configuration or another checkpoint.save_dir"
        )
    if changed:
        logger.warning(f"the run continues with changed settings: {'; '.join(changed)}")
    return state.get("cfg") or {}, state.get("task_state") or {}


def _changed_settings(theirs: Dict[str, Any], ours: Dict[str, Any]) -> Iterator[str]:
    for part in DECISIVE:
        before, now = dict(_flat(theirs.get(part) or {})), dict(_flat(ours.get(part) or {}))
        for key in sorted(before.keys() & now.keys()):
            if before[key] != now[key]:
                yield f"{part}.{key} {before[key]} -> {now[key]}"


def _flat(settings: Any, prefix: str = "") -> Iterator[Tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _first_line(error: BaseException) -> str:
    lines: List[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    wanted = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (wanted or lines or [type(error).__name__])[0]
