"""Settings of the model; the defaults are the published 95M configuration (MERT_RVQ-VAE_CQT_95M.yaml)."""

import ast
import math
import operator
from dataclasses import dataclass, field
from typing import Any, List, Sequence, Tuple, Union

from fairseq.dataclass import ChoiceEnum
from fairseq.models.hubert.hubert import HubertConfig
from omegaconf import II

from mert_fairseq.errors import MertError
from mert_fairseq.frames import CONV_LAYERS
from mert_fairseq.setting_ranges import COUNT, DROPOUT, PROBABILITY, SEED, SIZE, Range, check_ranges

AUTOCAST_CHOICES = ChoiceEnum(["none", "bf16", "auto"])


@dataclass
class MERTConfig(HubertConfig):
    """HuBERT's settings with MERT's values, and what MERT adds."""

    seed: int = field(default=II("common.seed"), metadata={"help": "seed of masks, mixup and layer drop"})
    autocast: AUTOCAST_CHOICES = field(
        default="none",
        metadata={"help": "bf16: matrix products in bfloat16, parameters and losses in float32; auto: where the device has it"},
    )

    compile: bool = field(
        default=False, metadata={"help": "torch.compile for the transformer layers; worth its minute of compiling on a GPU alone"}
    )

    conv_feature_layers: Any = field(
        default_factory=lambda: [list(layer) for layer in CONV_LAYERS],
        metadata={"help": "convolution stack, a list of [channels, kernel, stride]; the published string form is accepted"},
    )
    feature_grad_mult: float = field(default=0.1, metadata={"help": "factor on the convolution stack's gradient; 330M: 1.0"})
    encoder_layerdrop: float = field(default=0.05, metadata={"help": "probability of dropping a layer; 330M: 0"})
    dropout_input: float = field(default=0.1, metadata={"help": "dropout before the mask; 330M: 0"})
    dropout_features: float = field(default=0.1, metadata={"help": "kept for published configurations; no effect on the loss"})

    final_dim: int = field(default=64, metadata={"help": "width of each codebook's projection; 330M: 128"})
    untie_final_proj: bool = field(default=True, metadata={"help": "one projection per codebook"})
    skip_nomask: bool = field(default=True, metadata={"help": "no loss on unmasked frames"})
    mask_prob: float = field(default=0.8, metadata={"help": "spans started, times their length, per frame (58% end up masked)"})
    mask_length: int = field(default=5, metadata={"help": "frames per span: 67 ms at 75 Hz"})

    mixture_prob: float = field(
        default=0.5, metadata={"help": "probability that a clip gets segments of the other clips added; <= 0 is off"}
    )
    inbatch_noise_augment_len_range: List[int] = field(
        default_factory=lambda: [12_000, 24_000],
        metadata={"help": "shortest and longest segment, samples (0.5 to 1.0 s; 330M to 1.5 s)"},
    )
    inbatch_noise_augment_number_range: List[int] = field(
        default_factory=lambda: [1, 3], metadata={"help": "fewest and most segments per mixed clip, inclusive"}
    )
    inbatch_noise_augment_volume: float = field(default=1.0, metadata={"help": "factor on added segments"})

    audio_cqt_loss_m: bool = field(default=True, metadata={"help": "predict the CQT of masked frames"})
    audio_cqt_bins: int = field(default=336, metadata={"help": "bins of the CQT, 48 per octave"})
    attention_relax: float = field(
        default=-1.0,
        metadata={"help": "published scaling inside the softmax (330M: 32); equal to plain attention, which is what runs"},
    )


RANGES = {
    "encoder_layers": Range(1, 1000),
    **dict.fromkeys(("encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads", "conv_pos"), SIZE),
    "audio_cqt_bins": Range(0, SIZE.most),  # those that make no octaves are refused with the transform
    **dict.fromkeys(("mask_length", "mask_channel_length", "conv_pos_groups", "depthwise_conv_kernel_size"), SIZE),
    **dict.fromkeys(("required_seq_len_multiple",), Range(1, 1000)),
    **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features"), DROPOUT),
    "encoder_layerdrop": DROPOUT,
    "final_dim": Range(-1, 1 << 16),  # not above 0: as wide as the encoder
    "logit_temp": Range(1e-4, 1e4),
    "feature_grad_mult": Range(0, 1e4),
    "mask_prob": PROBABILITY,
    "mask_channel_prob": PROBABILITY,
    **dict.fromkeys(("mask_other", "mask_channel_other"), COUNT),
    **dict.fromkeys(("mask_min_space", "mask_channel_min_space"), COUNT),
    "mixture_prob": Range(-1, 1),  # not above 0: off
    "inbatch_noise_augment_volume": Range(-1e4, 1e4),
    "attention_relax": Range(-1, 1e4),
    "seed": SEED,
}
MOST_CHANNELS = 1 << 16
MOST = 10**9  # samples of a segment, segments of a clip


def check_settings(cfg: MERTConfig) -> None:
    """Refuses numbers out of their range, settings inherited from HuBERT that would be ignored or fail, and bounds the wrong way round."""
    check_ranges("model", cfg, RANGES)
    for name in ("encoder_attention_heads", "conv_pos_groups"):
        if cfg.encoder_embed_dim % getattr(cfg, name):
            raise MertError(f"model.{name}={getattr(cfg, name)}: must divide model.encoder_embed_dim={cfg.encoder_embed_dim}")
    for name in ("mask_channel_prob", "target_glu", "no_mask_overlap"):  # the last one fails in fairseq on numpy >= 1.24
        if getattr(cfg, name):
            raise MertError(f"model.{name}={getattr(cfg, name)} is not supported; leave it at {type(getattr(cfg, name))()}")
    if cfg.mask_selection == "uniform":  # fails in fairseq: a method that numpy's generators do not have
        raise MertError("model.mask_selection=uniform is not supported; use static, normal or poisson")
    for name, lowest in (("inbatch_noise_augment_len_range", 1), ("inbatch_noise_augment_number_range", 0)):
        bounds = list(getattr(cfg, name))
        if len(bounds) != 2 or any(type(bound) is not int for bound in bounds) or not lowest <= bounds[0] <= bounds[1] <= MOST:
            raise MertError(f"model.{name}={bounds}: [least, most] needed, from {lowest} to {MOST}")


_OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul}
MAX_CONV_LAYERS = 100  # the published stack has seven; a few characters could ask for a billion


def conv_layers_of(spec: Union[str, Sequence[Sequence[int]]]) -> List[Tuple[int, int, int]]:
    """The convolution stack as a list of (channels, kernel, stride).

    Args:
        spec: such a list, or the published string, e.g. "[(512,10,5)] + [(512,3,2)] * 4".
    """
    wanted = f"a list of [channels, kernel, stride] with positive integers up to {MOST_CHANNELS}"
    try:
        layers = _literal(ast.parse(spec, mode="eval").body) if isinstance(spec, str) else spec
        stack = [tuple(layer) for layer in layers]
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise MertError(f"model.conv_feature_layers={spec!r}: {wanted} needed") from error
    if not stack or not all(len(layer) == 3 and all(map(_is_size, layer)) for layer in stack):
        raise MertError(f"model.conv_feature_layers={spec!r}: {wanted} needed")
    return stack


def _is_size(number: Any) -> bool:
    return type(number) is int and 1 <= number <= MOST_CHANNELS


def _literal(node: ast.expr):
    """Value of an expression of lists, tuples, integers, + and *; anything else is refused."""
    if isinstance(node, ast.BinOp):
        operate, left, right = _OPERATORS[type(node.op)], _literal(node.left), _literal(node.right)
        if operate is operator.mul and not (isinstance(left, int) and isinstance(right, int)):
            if math.prod(side if isinstance(side, int) else len(side) for side in (left, right)) > MAX_CONV_LAYERS:
                raise ValueError(f"more than {MAX_CONV_LAYERS} layers")
        return operate(left, right)
    return ast.literal_eval(node)
