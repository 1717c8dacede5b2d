"""The published MERT model written out as plain functions of a state dict: forward pass and loss, for tests to compare with.

No module of the package or of fairseq is used, and everything takes its long form: attention by an explicit softmax, code
prediction by laying every frame beside every class, the CQT by nnAudio's convolution in time. Works in float32 and float64.

Shapes: B batch, S samples, C channels, T frames, D model dim, H heads, K codebooks, V classes of a codebook, M masked frames.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from nnAudio.features.cqt import CQT1992v2
from torch import Tensor

State = Dict[str, Tensor]
EPSILON = 1e-5  # of every layer norm and of the group norm


@dataclass(frozen=True)
class Sizes:
    """What a state dict does not tell."""

    num_heads: int
    num_classes: Tuple[int, ...]  # V of each codebook, special symbols included
    pre_ln: bool = False
    attention_relax: float = -1.0  # <= 0: the plain softmax
    feature_grad_mult: float = 1.0
    temperature: float = 0.1
    strides: Tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    position_groups: int = 16
    features_pen_weight: float = 10.0
    cqt_weight: float = 1.0


@dataclass
class Encoded:
    """What the forward pass goes through."""

    conv: Tensor  # [B, C, T], trimmed to the labels
    projected: Tensor  # [B, T, D]; without a mask 0 on padding, where the published encoder clears its input in place
    hidden: List[Tensor]  # [B, T, D] of each layer
    final: Tensor  # [B, T, D]; of pre-LN with the last layer norm
    padding: Optional[Tensor]  # [B, T] bool


@dataclass
class Loss:
    """The published loss, summed over the batch's masked frames, and its parts."""

    cross_entropy: Tensor  # [K] summed over masked frames
    hits: List[int]  # per codebook
    features_pen: Tensor
    cqt_mse: Tensor
    total: Tensor
    num_masked: int


def leaves(state: State, dtype: torch.dtype = torch.float64) -> State:
    """A copy to differentiate by."""
    return {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in state.items()}


def encode(
    state: State,
    sizes: Sizes,
    wave: Tensor,
    padding: Optional[Tensor] = None,
    mask: Optional[Tensor] = None,
    max_frames: Optional[int] = None,
) -> Encoded:
    """Forward pass on wave [B, S] with padding [B, S] and mask [B, T]; features are trimmed to `max_frames`."""
    conv = scale_gradient(conv_stack(state, sizes, wave), sizes.feature_grad_mult)[..., :max_frames]
    projected = layer_norm(state, "layer_norm", conv.transpose(1, 2))
    if "post_extract_proj.weight" in state:
        projected = linear(state, "post_extract_proj", projected)
    x = projected if mask is None else torch.where(mask[..., None], state["mask_emb"], projected)
    if padding is not None:
        padding = frame_padding(padding, x.shape[1])
        x = x.masked_fill(padding[..., None], 0.0)
    hidden, final = transformer(state, sizes, x, padding)
    return Encoded(conv, x if mask is None else projected, hidden, final, padding)


def loss(state: State, sizes: Sizes, wave: Tensor, targets: List[Tensor], mask: Tensor, padding: Optional[Tensor] = None) -> Loss:
    """The published objective with K targets [B, T'] of class ids."""
    encoded = encode(state, sizes, wave, padding, mask, max_frames=min(target.shape[1] for target in targets))
    num_frames = encoded.final.shape[1]
    chosen = mask if encoded.padding is None else mask & ~encoded.padding
    masked = encoded.final[chosen]
    projections = linear(state, "final_proj", masked).chunk(len(targets), dim=-1)
    tables = state["label_embs_concat"].split(list(sizes.num_classes))
    parts = [
        expanded_cross_entropy(projection, target[:, :num_frames][chosen], table, sizes.temperature)
        for projection, target, table in zip(projections, targets, tables)
    ]
    cross_entropy = torch.stack([part for part, _ in parts])
    features_pen = encoded.conv.square().mean()
    cqt = cqt_magnitudes(wave).to(wave.dtype)[:, :num_frames][chosen]
    cqt_mse = (linear(state, "encoder_cqt_model.fc", masked) - cqt).square().mean()
    num_masked = int(chosen.sum())
    extra = sizes.features_pen_weight * features_pen + sizes.cqt_weight * cqt_mse
    total = cross_entropy.sum() + extra * num_masked
    return Loss(cross_entropy, [hits for _, hits in parts], features_pen, cqt_mse, total, num_masked)


def expanded_cross_entropy(projected: Tensor, targets: Tensor, table: Tensor, temperature: float) -> Tuple[Tensor, int]:
    """Cross-entropy summed over M frames, and hits, by the published expansion.

    Every frame [M, dim] is laid beside its own class in slot 0 and beside all V classes in the slots after it, [V + 1, M, dim];
    where one of those is the frame's own class again it is taken out with minus infinity.
    """
    positive = table[targets]
    others = table[:, None].expand(-1, len(projected), -1)
    candidates = torch.cat([positive[None], others])
    lengths = projected.norm(dim=-1).clamp_min(1e-8) * candidates.norm(dim=-1).clamp_min(1e-8)
    logits = (projected * candidates).sum(-1) / lengths / temperature
    duplicate = torch.cat([torch.zeros(1, len(targets), dtype=torch.bool), (others == positive).all(-1)])
    logits = logits.masked_fill(duplicate, -math.inf).t()  # [M, V + 1]
    return -logits.log_softmax(-1)[:, 0].sum(), int((logits.argmax(-1) == 0).sum())


@lru_cache(maxsize=1)
def nnaudio_cqt() -> CQT1992v2:
    """The published musical teacher; its kernels are 65,536 taps long."""
    sizes = {"sr": 24000, "hop_length": 320, "fmin": 32.7, "n_bins": 336, "bins_per_octave": 48}
    return CQT1992v2(**sizes, norm=1, window="hann", pad_mode="constant", verbose=False)


@torch.no_grad()
def cqt_magnitudes(wave: Tensor) -> Tensor:
    """[B, S] -> [B, S // 320 + 1, 336], in float32 as published."""
    return nnaudio_cqt()(wave.float()).transpose(1, 2)


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """The value of x with `factor` times its gradient; 0 cuts it off."""
    fixed = x.detach()
    return fixed + (x - fixed) * factor


def conv_stack(state: State, sizes: Sizes, wave: Tensor) -> Tensor:
    """[B, S] -> [B, C, T]: convolutions without bias, one norm per channel over time after the first, GELU."""
    x = wave[:, None]
    for number, stride in enumerate(sizes.strides):
        name = f"feature_extractor.conv_layers.{number}"
        x = F.conv1d(x, state[f"{name}.0.weight"], stride=stride)
        if number == 0:
            x = normalise(x) * state[f"{name}.2.weight"][:, None] + state[f"{name}.2.bias"][:, None]
        x = gelu(x)
    return x


def frame_padding(padding: Tensor, num_frames: int) -> Tensor:
    """[B, S] -> [B, T]: samples that do not divide into T frames are cut off the end; a frame is padding if all of it is."""
    per_frame = padding.shape[1] // num_frames
    return padding[:, : per_frame * num_frames].reshape(len(padding), num_frames, per_frame).all(-1)


def transformer(state: State, sizes: Sizes, x: Tensor, padding: Optional[Tensor]) -> Tuple[List[Tensor], Tensor]:
    """[B, T, D] -> the output of every layer, and the encoder's."""
    num_frames = x.shape[1]
    x = x + position(state, sizes, x)
    if not sizes.pre_ln:
        x = layer_norm(state, "encoder.layer_norm", x)
    if num_frames % 2:  # attention runs on an even number of frames, the last one hidden from it
        x = F.pad(x, (0, 0, 0, 1))
        padding = torch.zeros(len(x), num_frames, dtype=torch.bool) if padding is None else padding
        padding = F.pad(padding, (0, 1), value=True)
    hidden, number = [], 0
    while f"encoder.layers.{number}.fc1.weight" in state:
        x = transformer_layer(state, f"encoder.layers.{number}", sizes, x, padding)
        hidden.append(x[:, :num_frames])
        number += 1
    return hidden, layer_norm(state, "encoder.layer_norm", hidden[-1]) if sizes.pre_ln else hidden[-1]


def position(state: State, sizes: Sizes, x: Tensor) -> Tensor:
    """Convolutional position embedding: weight norm over each tap, the surplus frame of an even kernel cut, GELU."""
    direction, size = state["encoder.pos_conv.0.weight_v"], state["encoder.pos_conv.0.weight_g"]
    weight = size * direction / direction.square().sum(dim=(0, 1), keepdim=True).sqrt()
    taps = weight.shape[-1]
    y = F.conv1d(x.transpose(1, 2), weight, state["encoder.pos_conv.0.bias"], padding=taps // 2, groups=sizes.position_groups)
    return gelu(y[..., : x.shape[1]] if taps % 2 == 0 else y).transpose(1, 2)


def transformer_layer(state: State, name: str, sizes: Sizes, x: Tensor, padding: Optional[Tensor]) -> Tensor:
    """Attention and feed-forward, each normalised before (pre-LN) or after (post-LN) it is added."""

    def feed_forward(y: Tensor) -> Tensor:
        return linear(state, f"{name}.fc2", gelu(linear(state, f"{name}.fc1", y)))

    if sizes.pre_ln:
        x = x + attention(state, f"{name}.self_attn", sizes, layer_norm(state, f"{name}.self_attn_layer_norm", x), padding)
        return x + feed_forward(layer_norm(state, f"{name}.final_layer_norm", x))
    x = layer_norm(state, f"{name}.self_attn_layer_norm", x + attention(state, f"{name}.self_attn", sizes, x, padding))
    return layer_norm(state, f"{name}.final_layer_norm", x + feed_forward(x))


def attention(state: State, name: str, sizes: Sizes, x: Tensor, padding: Optional[Tensor]) -> Tensor:
    """Self-attention [B, T, D] with the T x T weights written out."""

    def heads(part: str) -> Tensor:
        return linear(state, f"{name}.{part}_proj", x).unflatten(-1, (sizes.num_heads, -1)).transpose(1, 2)

    query, key, value = heads("q"), heads("k"), heads("v")
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # [B, H, T, T]
    if padding is not None:
        scores = scores.masked_fill(padding[:, None, None], -math.inf)
    if sizes.attention_relax > 0:
        scores = scores / sizes.attention_relax
        scores = (scores - scores.max(-1, keepdim=True).values) * sizes.attention_relax
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return linear(state, f"{name}.out_proj", (weights @ value).transpose(1, 2).flatten(2))


def normalise(x: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the last dimension."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + EPSILON).sqrt()


def layer_norm(state: State, name: str, x: Tensor) -> Tensor:
    return normalise(x) * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].t() + state[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2
