"""The published MERT model written out as plain functions of a state dict: forward pass and loss, for tests to compare with.

No module of the package or of fairseq is used, and everything takes its long form: attention by an explicit softmax, code
prediction by laying every frame beside every class, the CQT by nnAudio's convolution in time. Works in float32 and float64.

Shapes: B batch, S samples, C channels, T frames, D model dim, H heads, K codebooks, V classes of a codebook, M masked frames.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import List, Optional, Tuple

import torch
from nnAudio.features.cqt import CQT1992v2
from reference_layers import Sizes, State, conv_stack, frame_padding, layer_norm, linear, transformer
from torch import Tensor


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
