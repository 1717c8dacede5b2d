"""The weight of a weight-normed convolution, which torch sets as the module is called: stale before that, and after loading weights."""

import torch
from torch import Tensor, nn


def normed_weight(conv: nn.Module) -> Tensor:
    """g v / |v|, the norm over all dimensions in which g has one entry; of a convolution without weight norm its weight."""
    if not hasattr(conv, "weight_g"):
        return conv.weight
    shared = [dim for dim, size in enumerate(conv.weight_g.shape) if size == 1]
    return conv.weight_v * (conv.weight_g / torch.linalg.vector_norm(conv.weight_v, dim=shared, keepdim=True))
