"""Published weights as a checkpoint of this package: training goes on from it, and everything else here reads it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from torch import Tensor

from mert_fairseq.checkpoints import check_is_mert, codebook_sizes, is_fixed_transform, read_checkpoint
from mert_fairseq.errors import MertError
from mert_fairseq.export.hf_folder import read_folder
from mert_fairseq.export.hubert_names import from_hugging_face, is_head
from mert_fairseq.export.training_model import build_model, known_settings, plain_settings

ENCODER = ("encoder.", "feature_extractor.", "post_extract_proj.", "layer_norm.", "mask_emb")
PUBLISHED_CODEBOOKS = (1024,) * 8  # EnCodec at 6 kbit/s


@dataclass
class Imported:
    """A checkpoint's content, and what is to be said of where it came from.

    Attributes:
        state: as fairseq writes it, without an optimizer.
        initialised: heads that the source lacks; they have random weights.
        left_out: weights of the source that the model has no place for.
        ignored: settings of the source that the model does not have, with their values.
    """

    state: Dict[str, Any]
    initialised: List[str] = field(default_factory=list)
    left_out: List[str] = field(default_factory=list)
    ignored: Dict[str, Any] = field(default_factory=dict)


def import_weights(source: str, sizes: Optional[Sequence[int]] = None) -> Imported:
    """Reads a Hugging Face folder or a fairseq checkpoint.

    Args:
        sizes: V of each codebook, for a folder without heads; None: as published.

    Raises:
        MertError: damaged, of another model, or without all of the encoder's weights, each of which is named.
    """
    if sizes and min(sizes) < 1:
        raise MertError(f"codebooks of {list(sizes)} entries: at least 1 each")
    if Path(source).is_dir():
        return _from_folder(Path(source), sizes)
    state = read_checkpoint(source)
    check_is_mert(source, state)
    settings = dict(state["cfg"]["model"])
    if sizes and codebook_sizes(state) not in ([], list(sizes)):
        raise MertError(f"{source}: holds heads for codebooks of {codebook_sizes(state)} entries, asked for {list(sizes)}")
    made = _fit(source, settings, codebook_sizes(state) or sizes or PUBLISHED_CODEBOOKS, state["model"])
    known = known_settings(settings)
    made.ignored = {name: value for name, value in settings.items() if name not in known and name != "_name" and value}
    return made


def _from_folder(folder: Path, sizes: Optional[Sequence[int]]) -> Imported:
    found = read_folder(folder)
    if found.codebook_sizes and sizes and list(sizes) != found.codebook_sizes:
        raise MertError(f"{folder}: holds heads for codebooks of {found.codebook_sizes} entries, asked for {list(sizes)}")
    made = _fit(str(folder), found.settings, found.codebook_sizes or sizes or PUBLISHED_CODEBOOKS, found.weights, hugging_face=True)
    dtype = getattr(torch, found.dtype, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise MertError(f"{folder}: its weights were of type {found.dtype!r} in training; a floating-point type of torch wanted")
    made.state["model"] = {name: tensor.to(dtype) for name, tensor in made.state["model"].items()}
    return made


def _fit(source: str, settings: Dict[str, Any], sizes: Sequence[int], weights: Dict[str, Tensor], hugging_face: bool = False) -> Imported:
    """The weights in the names, shapes and order of the model that the settings describe."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = build_model(settings, sizes, source, held=sum(tensor.numel() for tensor in weights.values()))
    wanted = model.state_dict()
    weights = from_hugging_face(weights, wanted) if hugging_face else weights
    _check_encoder(source, wanted, weights)
    _check_numbers(source, {name: tensor for name, tensor in weights.items() if name in wanted})
    state = _checkpoint(plain_settings(model.cfg), sizes, {name: weights.get(name, tensor) for name, tensor in wanted.items()})
    left_out = [name for name in weights if name not in wanted and not is_fixed_transform(name)]
    return Imported(state, [name for name in wanted if name not in weights], left_out)


def _check_encoder(source: str, wanted: Dict[str, Tensor], weights: Dict[str, Tensor]) -> None:
    absent = [name for name in wanted if name not in weights and not is_head(name)]
    shapes = [
        f"{name} {tuple(weights[name].shape)}, wanted {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    over = [name for name in weights if name.startswith(ENCODER) and name not in wanted]
    if absent or shapes or over:
        said = [f"missing: {', '.join(absent)}"] * bool(absent) + [f"of another shape: {'; '.join(shapes)}"] * bool(shapes)
        said += [f"unknown: {', '.join(over)}"] * bool(over)
        raise MertError(f"{source}: does not hold the model that its settings describe; {'; '.join(said)}")


def _check_numbers(source: str, weights: Dict[str, Tensor]) -> None:
    # As float32, which the model computes in; torch does not tell of 8 bits whether they are finite.
    wrong = [name for name, tensor in weights.items() if not (tensor.is_floating_point() and torch.isfinite(tensor.float()).all())]
    if wrong:
        raise MertError(f"{source}: {len(wrong)} weights are not finite numbers, first {wrong[0]}; take a checkpoint from before that")


def _checkpoint(settings: Dict[str, Any], sizes: Sequence[int], weights: Dict[str, Tensor]) -> Dict[str, Any]:
    """What fairseq wants in a checkpoint that a run begins from."""
    return {
        "args": None,
        "cfg": {
            "task": {"_name": "mert_pretraining", "data": "", "sample_rate": 24_000, "label_rate": 75.0},
            "model": {**settings, "_name": "mert"},
            "criterion": {"_name": "mert"},
        },
        "model": weights,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}],
        "task_state": {"codebook_sizes": list(sizes)},
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0, "shuffle": True, "version": 2}},
        "last_optimizer_state": None,
    }
