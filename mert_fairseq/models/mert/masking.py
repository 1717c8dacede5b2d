"""Span masks that follow from seed, update and clip, so that a run can be repeated and resumed exactly."""

from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
from fairseq.data.data_utils import compute_mask_indices
from torch import Tensor

from mert_fairseq.errors import MertError

MIN_SPANS = 2  # per clip; HuBERT and the published configuration


@dataclass
class SpanMask:
    """Which frames are hidden from the encoder.

    Attributes:
        indices: [B, T] bool, True where the mask embedding replaces the frame.
        masked: [M] positions of masked frames in the batch laid end to end (B * T).
        unmasked: the other positions that are not padding.
    """

    indices: Tensor
    masked: Tensor
    unmasked: Tensor


def draw_span_mask(cfg, shape, padding_mask: Optional[Tensor], ids: Tensor, update: int, device: torch.device) -> SpanMask:
    """Draws spans as HuBERT does (fairseq's own function), seeded by (cfg.seed, update, id of the clip).

    Args:
        cfg: model settings: mask_prob, mask_length, mask_selection, mask_other, no_mask_overlap, mask_min_space, seed.
        shape: (B, T).
        padding_mask: [B, T] bool or None; padding is never masked.
        ids: [B] number of each clip in its data set.
    """
    padding = None if padding_mask is None else padding_mask.cpu()
    try:
        indices = compute_mask_indices(
            shape,
            padding,
            cfg.mask_prob,
            cfg.mask_length,
            cfg.mask_selection,
            cfg.mask_other,
            min_masks=MIN_SPANS,
            no_overlap=cfg.no_mask_overlap,
            min_space=cfg.mask_min_space,
            seed=cfg.seed,
            epoch=update,
            indices=ids.cpu(),
        )
        if not indices.any():
            raise ValueError("no frame is masked")
    except ValueError as error:
        raise MertError(
            f"clips of {shape[1]} frames cannot be masked with spans of {cfg.mask_length} at mask_prob {cfg.mask_prob} ({error}); "
            "raise task.min_sample_size or lower model.mask_length"
        ) from error
    return as_span_mask(torch.from_numpy(indices), padding, device)


def as_span_mask(indices: Tensor, padding_mask: Optional[Tensor], device: torch.device) -> SpanMask:
    """Completes a mask [B, T]; positions are found on the CPU so that no device has to be waited for."""
    masked, valid = indices.cpu().numpy(), np.ones(indices.shape, dtype=bool)
    if padding_mask is not None:
        valid = ~padding_mask.cpu().numpy()
    positions = [torch.from_numpy(np.flatnonzero(kind)) for kind in (masked & valid, ~masked & valid)]
    return SpanMask(*(tensor.to(device, non_blocking=True) for tensor in (indices, *positions)))
