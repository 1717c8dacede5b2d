"""The head of a probe: one hidden layer on frozen features, of one layer of the encoder or of a learnable mean of them.

Settings are MARBLE's (arXiv:2306.10548, appendix A): 512 hidden units, ReLU, dropout 0.2. The published head for frames has dropout
before the ReLU, which is the same: dropout only scales and zeroes.
"""

from typing import Optional

import torch
from torch import Tensor, nn

#: The published weighted sum leaves out hidden state 0, the transformer's input.
FIRST_SUMMED = 1


class LayerSum(nn.Module):
    """[..., L, D] -> [..., D]: a mean whose weights are the softmax of a learnable vector, which starts as N(0, 1) (MARBLE v1)."""

    def __init__(self, num_layers: int):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(num_layers))

    def forward(self, states: Tensor) -> Tensor:
        return self.logits.softmax(0) @ states


class Head(nn.Module):
    """[..., D], or [..., L, D] where layers are summed, to [..., C].

    Args:
        dim: D.
        outputs: C, classes, tags or values; 1 for beats.
        num_summed: L; None: features of a single layer.
        hidden: units.
        dropout: of the hidden units, in training.
    """

    def __init__(self, dim: int, outputs: int, num_summed: Optional[int] = None, hidden: int = 512, dropout: float = 0.2):
        super().__init__()
        self.layer_sum = nn.Identity() if num_summed is None else LayerSum(num_summed)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))

    def forward(self, features: Tensor) -> Tensor:
        return self.mlp(self.layer_sum(features))
