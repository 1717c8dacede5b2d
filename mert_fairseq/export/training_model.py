"""The model of a training checkpoint, without its task's data."""

import logging
from dataclasses import asdict, dataclass, fields
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mert_fairseq.checkpoints import check_is_mert, codebook_sizes, read_checkpoint
from mert_fairseq.class_ids import NUM_SPECIALS
from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE, SAMPLE_RATE
from mert_fairseq.models.mert import MERTConfig, MERTModel
from mert_fairseq.models.mert.size import check_size

logging.getLogger("fairseq.models.hubert.hubert").setLevel(logging.WARNING)  # it logs all settings of every model it builds

#: Settings that are no part of what was learned, or that other configurations hold the values of.
OWN = {"label_rate": float(FRAME_RATE), "required_seq_len_multiple": 2, "seed": 1, "compile": False, "autocast": "none"}
#: Switches of the published code that change what the encoder computes and that are not built here.
NOT_BUILT = ("deepnorm", "feature_extractor_cqt", "do_cnn_feat_stable_layernorm", "wav_normalize")


@dataclass
class TrainingModel:
    """A checkpoint, opened.

    Attributes:
        model: in evaluation mode, on the CPU, in float32.
        dtype: of the checkpoint's weights, "float16" where training was in half precision.
        cfg: the run's whole configuration.
        state: the checkpoint's other content.
    """

    model: MERTModel
    dtype: str
    cfg: Dict[str, Any]
    state: Dict[str, Any]

    @property
    def settings(self) -> Dict[str, Any]:
        """Of the model, as plain values."""
        return plain_settings(self.model.cfg)


def open_training_model(path: str) -> TrainingModel:
    """Reads a checkpoint of this package's training.

    Raises:
        MertError: not a checkpoint, one of another model, or weights that do not fit its own settings.
    """
    state = read_checkpoint(path)
    cfg = state.get("cfg") or {}
    check_is_mert(path, state)
    model = build_model(cfg["model"], codebook_sizes(state), path, held=sum(tensor.numel() for tensor in state["model"].values()))
    theirs, ours = ({name: tuple(tensor.shape) for name, tensor in weights.items()} for weights in (state["model"], model.state_dict()))
    wrong = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    if wrong:
        raise MertError(
            f"{path}: {len(wrong)} weights are not those of its settings, first {wrong[0]} ({theirs.get(wrong[0])} there, "
            f"{ours.get(wrong[0])} wanted); for a published checkpoint run `mert import {path} OUT.pt` first"
        )
    dtype = str(next(iter(state["model"].values())).dtype).removeprefix("torch.")
    model.load_state_dict(state["model"])
    return TrainingModel(model.float().eval(), dtype, cfg, state)


def build_model(settings: Dict[str, Any], sizes: Sequence[int], path: str, held: Optional[int] = None) -> MERTModel:
    """A model with random weights, of the settings found in `path`; settings that are unknown here are left out.

    Args:
        settings: plain values.
        sizes: V of each codebook.
        held: numbers that the weights beside the settings hold; None: there are none.
    """
    switched = [name for name in NOT_BUILT if settings.get(name) is True]
    if switched:
        raise MertError(f"{path}: {', '.join(f'{name}=true' for name in switched)}: not supported, the encoder would not be the same")
    unresolved = [name for name, value in settings.items() if isinstance(value, str) and "${" in value]
    if unresolved:
        raise MertError(f"{path}: model.{unresolved[0]}={settings[unresolved[0]]!r}: a value wanted, not where one is found")
    if not sizes or min(sizes) < 1:
        raise MertError(f"{path}: does not tell the sizes of its codebooks ({list(sizes)})")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(MERTConfig), known_settings(settings) | OWN)
        cfg = MERTConfig(**OmegaConf.to_container(merged, resolve=True))
        check_size(cfg, sizes, held)
        return MERTModel(cfg, SimpleNamespace(sample_rate=SAMPLE_RATE), list(sizes))
    except (OmegaConfBaseException, TypeError, ValueError, AssertionError, ZeroDivisionError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise MertError(f"{path}: no model can be built of its settings ({reason[0]})") from None


def known_settings(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Those of `settings` that the model has."""
    names = {field.name for field in fields(MERTConfig)} - {"_name"}
    return {name: value for name, value in settings.items() if name in names}


def plain_settings(cfg: MERTConfig) -> Dict[str, Any]:
    """Of a model, as JSON can hold them."""
    return {name: getattr(value, "value", value) for name, value in asdict(cfg).items() if name != "_name"}


def codebooks_of(model: MERTModel) -> List[int]:
    """V of each codebook."""
    return [size - NUM_SPECIALS for size in model.num_classes]
