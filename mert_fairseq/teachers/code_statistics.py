"""How codes are used: a collapsed teacher has a low perplexity."""

from typing import List, NamedTuple

import torch
from torch import Tensor


class CodeStatistics(NamedTuple):
    """One number per codebook."""

    perplexity: List[float]  # exp(entropy), at most V
    top_share: List[float]  # of the most frequent code
    repeat_rate: List[float]  # share of frames with the code of the frame before


def code_statistics(codes: Tensor, size: int) -> CodeStatistics:
    """Codes [B, K, T] of codebooks of `size` entries -> their statistics."""
    shares = torch.stack([torch.bincount(codes[:, k].flatten(), minlength=size) / codes[:, k].numel() for k in range(codes.shape[1])])
    perplexity = torch.special.entr(shares).sum(1).exp()
    repeats = (codes[..., 1:] == codes[..., :-1]).float().mean((0, 2))
    return CodeStatistics(perplexity.tolist(), shares.max(1).values.tolist(), repeats.tolist())
