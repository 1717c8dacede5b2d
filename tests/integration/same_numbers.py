"""Whether two training runs computed the same, bit for bit: what they logged, and all tensors of their last checkpoints.

Both functions answer in words: the first difference there is, or an empty text.
"""

from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence, Tuple

import torch
import training_runs as runs

from mert_fairseq.checkpoints import read_checkpoint

SPLITS = ("train", "valid")
OF_VALIDATION = {"bsz", "wpb"}  # batches per step, summed over processes


def first_difference(run_dir: Path, wanted: Path, after: int = 0, splits: Sequence[str] = SPLITS) -> str:
    """Of logged numbers, then of tensors.

    Args:
        after: `run_dir` began with that update's checkpoint, and logged what came later.
        splits: without "valid" where other numbers of processes add up the batches of a validation in another order.
    """
    return logged_difference(run_dir, wanted, after, splits) or tensor_difference(run_dir, wanted)


def logged_difference(run_dir: Path, wanted: Path, after: int = 0, splits: Sequence[str] = SPLITS) -> str:
    """The first update, split and key whose logged value differs."""
    ours, theirs = runs.logged_numbers(run_dir), runs.logged_numbers(wanted)
    for split in splits:
        updates = {update for update in theirs[split] if update > after}
        if ours[split].keys() != updates:
            first = min(ours[split].keys() ^ updates)
            return f"{split}: update {first} was logged by {'one' if first in ours[split] else 'the other'} alone"
        for update in sorted(updates):
            one, other = (_counted_alike(records[split][update]) for records in (ours, theirs))
            for key in sorted(one.keys() | other.keys()):
                if repr(one.get(key)) != repr(other.get(key)):  # as text: two that are no numbers are the same
                    return f"{split}, update {update}: {key} is {one.get(key)}, {other.get(key)} wanted"
    return ""


def _counted_alike(record: Mapping[str, float]) -> Mapping[str, float]:
    return {key: value for key, value in record.items() if key not in OF_VALIDATION}


def tensor_difference(run_dir: Path, wanted: Path) -> str:
    """The first tensor that differs, weights before the optimizer's state, and its first value that does."""
    ours, theirs = (dict(_tensors(folder)) for folder in (run_dir, wanted))
    for name in theirs | ours:
        if name not in ours or name not in theirs:
            return f"{name} is of one checkpoint alone"
        one, other = ours[name], theirs[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{name} is {one.dtype} {list(one.shape)}, {other.dtype} {list(other.shape)} wanted"
        differs = (one != other) & ~(one.isnan() & other.isnan())
        if differs.any():
            place = tuple(differs.nonzero()[0].tolist())
            values = f"{one[place].item()!r}, {other[place].item()!r} wanted"
            return f"{name}{list(place)} is {values} ({int(differs.sum())} of {differs.numel()} values differ)"
    return ""


def _tensors(run_dir: Path) -> Iterator[Tuple[str, torch.Tensor]]:
    state = read_checkpoint(str(run_dir / "checkpoints" / "checkpoint_last.pt"))
    yield from _flat("model", state["model"])
    yield from _flat("last_optimizer_state", state["last_optimizer_state"])


def _flat(name: str, value: Any) -> Iterator[Tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, (dict, list, tuple)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(f"{name}.{key}", part)
    elif isinstance(value, (int, float)):
        yield name, torch.tensor(value, dtype=torch.float64)
