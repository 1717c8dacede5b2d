"""The layers of the published MERT model as plain functions of a state dict, each in its long form."""

import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
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
