"""Matrix products on a CPU, by oneDNN where that is quicker than what torch would do.

In float32, on an AMD processor, MKL reached three quarters of the rate that oneDNN does, nine tenths in large gradients of weights, all
of it in small ones; on an Intel one it was the quicker, by a tenth to a half. The two differ by rounding alone. In bfloat16 torch calls
oneDNN too, but for a bias fills the output with it first.
"""

import platform
from pathlib import Path
from typing import Optional

import torch
from torch import Tensor, nn

from mert_fairseq.models.mert.differentiated_once import differentiated_once

#: Multiplications from which the call of oneDNN was worth its start (374 x 256 by 256 x 1,024 was 1.2 times as fast).
LEAST_MULTIPLICATIONS = 1 << 26
LEAST_BY_COLUMNS = 1 << 30  # the same where both factors are read along their columns
_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def prefers_mkl(listed: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether torch's own float32 products come of MKL on a processor of its maker, as Linux has `listed` it."""
    try:
        processor = listed.read_text(errors="replace")
    except OSError:  # not Linux, or hidden
        processor = platform.processor()
    return torch.backends.mkl.is_available() and "GenuineIntel" in processor


BY_ONEDNN = (torch.bfloat16,) if prefers_mkl() else (torch.float32, torch.bfloat16)


def product(left: Tensor, right: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """left [N, K] times right [K, M], plus bias [M]: [N, M]. Not differentiated."""
    large = left.size(0) * right.numel() >= LEAST_MULTIPLICATIONS
    quicker = left.dtype in BY_ONEDNN and (left.dtype == torch.float32 or bias is not None)
    if large and quicker and _ONEDNN is not None and left.device.type == "cpu" and left.dtype == right.dtype:
        return _ONEDNN(left, right.t(), bias, "none", [], "")
    return left @ right if bias is None else torch.addmm(bias, left, right)


def product_by_columns(left: Tensor, right: Tensor) -> Tensor:
    """left [N, M], turned, times right [N, K]: [M, K], the gradient of a weight. Not differentiated."""
    return product(left.t(), right) if _large_by_columns(left, right) else left.t() @ right


def _large_by_columns(left: Tensor, right: Tensor) -> bool:
    by_onednn = left.dtype == torch.float32 and torch.float32 in BY_ONEDNN
    return by_onednn and left.numel() * right.size(1) >= LEAST_BY_COLUMNS


def add_product_by_columns(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total [M, K] += left [N, M], turned, times right [N, K]; total may be of higher precision."""
    if total.dtype != left.dtype or _large_by_columns(left, right):
        total += product_by_columns(left, right)
    else:
        torch.addmm(total, left.t(), right, out=total)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total [N, M] += left [N, K] times right [K, M]; in half precision the sum is rounded once."""
    if torch.float32 in BY_ONEDNN and total.dtype == torch.float32:
        total += product(left, right)
    else:
        torch.addmm(total, left, right, out=total)


class Linear(nn.Linear):
    """A linear layer whose products are those above."""

    @classmethod
    def like(cls, linear: nn.Linear) -> "Linear":
        """With the parameters of `linear`."""
        made = cls(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        made.weight, made.bias = linear.weight, linear.bias
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] -> [..., D'], in autocast's type where that is on."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if x.device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
            return super().forward(x)
        bias = None if self.bias is None else self.bias.to(dtype)
        flat = _Linear.apply(x.to(dtype).reshape(-1, x.size(-1)), self.weight.to(dtype), bias)
        return flat.view(*x.shape[:-1], self.out_features)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
        """x [N, D], weight [D', D], bias [D'] -> [N, D']."""
        ctx.save_for_backward(x, weight)
        return product(x, weight.t(), bias)

    @staticmethod
    @differentiated_once
    def backward(ctx, grad: Tensor):
        """Those of x, weight and bias."""
        x, weight = ctx.saved_tensors
        grad_x = product(grad, weight) if ctx.needs_input_grad[0] else None
        return grad_x, product_by_columns(grad, x), grad.sum(0) if ctx.needs_input_grad[2] else None
