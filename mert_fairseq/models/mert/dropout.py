"""Dropout whose random numbers are cheap on a CPU.

torch draws one Bernoulli variable after another there, 6 ns each: 0.3 s of a step of mert_base with two clips. Fifteen bits of a 64-bit
generator's numbers, compared with a threshold, decide the same to 1/32,768, in a tenth of the time. The generator is numpy's SFC64, twice
as fast as torch's own, which seeds it.
"""

from typing import Optional, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mert_fairseq.models.mert.differentiated_once import differentiated_once

LEVELS = 1 << 15
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def draw_kept(shape: Sequence[int], p: float, dtype: torch.dtype) -> Tensor:
    """What `keep` takes for values of `dtype` on the CPU, of torch's seed.

    Returns:
        int8, or int16 for types as wide: each is -1, all bits set, with probability 1 - p, and else 0.
    """
    return _draw(shape, p, dtype)


def _draw_by_numpy(shape: Sequence[int], p: float, dtype: torch.dtype) -> Tensor:
    count = torch.Size(shape).numel()
    generator = np.random.Generator(np.random.SFC64(torch.randint(2**63 - 1, (1,)).numpy()))
    words = torch.from_numpy(generator.integers(-(2**63), 2**63 - 1, -(-count // 4), endpoint=True))
    least_dropped = min(LEVELS - 1, round((1 - p) * LEVELS)) - LEVELS // 2
    drawn = words.view(torch.int16)[:count].view(shape).bitwise_right_shift_(1).sub_(least_dropped)
    return drawn.bitwise_right_shift_(15).to(torch.int16 if dtype.itemsize == 2 else torch.int8)


_draw = _draw_by_numpy


def draw_uncompiled() -> None:
    """For torch.compile, which would draw the seed in a way of its own. Not a decorator: it imports the compiler, which takes a second."""
    global _draw
    _draw = torch.compiler.disable(_draw_by_numpy)


def keep(x: Tensor, kept: Tensor, out: Optional[Tensor] = None) -> Tensor:
    """x where `kept` says so, else 0; by bits that is several times as fast as by a product of two types."""
    bits = _BITS[x.element_size()]
    return torch.bitwise_and(x.view(bits), kept.to(bits), out=None if out is None else out.view(bits)).view(x.dtype)


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU with the random numbers above."""

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape."""
        if x.device.type != "cpu" or not self.training or not 0 < self.p < 1:
            return super().forward(x)
        return _Drop.apply(x, self.p)


class _Drop(torch.autograd.Function):
    """x times what is kept, over the share that is kept."""

    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        """Draws."""
        kept = draw_kept(x.shape, p, x.dtype)
        ctx.save_for_backward(kept)
        ctx.p = p
        return keep(x, kept).mul_(1 / (1 - p))

    @staticmethod
    @differentiated_once
    def backward(ctx, grad: Tensor):
        """The same elements."""
        (kept,) = ctx.saved_tensors
        return keep(grad, kept).mul_(1 / (1 - ctx.p)), None
