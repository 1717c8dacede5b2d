"""The weight of a weight-normed convolution, which torch sets as the module is called: stale before that, and after loading weights."""

import torch
from torch import Tensor, nn


def normed_weight(conv: nn.Module) -> Tensor:
    """g v / |v|, the norm over all dimensions but that of which g has an entry each; of a convolution without weight norm its weight.

    torch's own operation, which sums along rows: for the position convolution of mert_base (g [1, 1, 128]) a tenth of the time of
    norm and products, both passes together.
    """
    if not hasattr(conv, "weight_g"):
        return conv.weight
    kept = [dim for dim, size in enumerate(conv.weight_g.shape) if size > 1]
    return torch._weight_norm(conv.weight_v, conv.weight_g, kept[0] if kept else -1)
