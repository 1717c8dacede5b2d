"""In-batch noise mixup: pieces of the other clips of the batch are added to a clip; its targets stay those of the clean clip.

The published code mixes with probability 1 - mixture_prob; here `mixture_prob` is the probability that a clip is mixed.
"""

from typing import Iterator, Tuple

import numpy as np
import torch
from torch import Tensor

Piece = Tuple[int, int, int, int]  # clip, place in the clip, place in the pool of the other clips, length; samples


def noise_mixup(source: Tensor, cfg, ids: Tensor, update: int) -> Tensor:
    """Adds 1-3 segments of other clips to a share of the clips (MERT section 3.3; lengths and numbers as published).

    Args:
        source: [B, S] clean wave; left as it is.
        cfg: model settings: mixture_prob and inbatch_noise_augment_{len_range,number_range,volume}.
        ids: [B] number of each clip in its data set; with cfg.seed and `update` they decide every draw.

    Returns:
        [B, S]. A batch of one clip has no other clips and comes back clean.
    """
    num_clips, num_samples = source.shape
    if num_clips < 2 or cfg.mixture_prob <= 0:
        return source
    rng = np.random.default_rng([cfg.seed, update, *ids.tolist()])
    mixed, flat = source.clone(), source.reshape(-1)
    for clip, place, pool_place, length in draw_pieces(cfg, rng, num_clips, num_samples):
        piece = _from_pool(flat, clip, num_samples, pool_place, length)
        mixed[clip, place : place + length].add_(piece, alpha=cfg.inbatch_noise_augment_volume)
    return mixed


def draw_pieces(cfg, rng: np.random.Generator, num_clips: int, num_samples: int) -> Iterator[Piece]:
    """Where each piece comes from and goes to; every bound is inclusive, a piece is never longer than the clip."""
    shortest, longest = (min(bound, num_samples) for bound in cfg.inbatch_noise_augment_len_range)
    fewest, most = cfg.inbatch_noise_augment_number_range
    pool_samples = (num_clips - 1) * num_samples
    for clip in range(num_clips):
        if rng.random() >= cfg.mixture_prob:
            continue
        for _ in range(rng.integers(fewest, most + 1)):
            length = int(rng.integers(shortest, longest + 1))
            place = int(rng.integers(0, num_samples - length + 1))
            yield clip, place, int(rng.integers(0, pool_samples - length + 1)), length


def _from_pool(flat: Tensor, clip: int, num_samples: int, start: int, length: int) -> Tensor:
    """`length` samples from `start` of all clips but `clip` laid end to end; a piece may straddle two clips."""
    own_start = clip * num_samples
    before = max(0, min(length, own_start - start))
    if before == length:
        return flat[start : start + length]
    after = flat[start + before + num_samples : start + length + num_samples]
    return after if before == 0 else torch.cat([flat[start : start + before], after])
