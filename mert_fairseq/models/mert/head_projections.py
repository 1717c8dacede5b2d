"""Queries, keys and values of all heads as one matrix product, for half precision on a CPU.

There the weights are cast anyway, here into one matrix: a tenth less time than three products, forward and backward. In float32 the joined
weight would be a copy to keep.
"""

from typing import Sequence, Tuple

import torch
from torch import Tensor, nn

from mert_fairseq.models.mert.differentiated_once import differentiated_once
from mert_fairseq.models.mert.matrix_product import product


def suits(x: Tensor, projections: Sequence[nn.Module]) -> bool:
    """Whether `project_heads` is for these: linear layers of one size with biases, multiplied in bfloat16 on a CPU."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    alike = len({p.weight.shape for p in projections}) == 1 and all(isinstance(p, nn.Linear) and p.bias is not None for p in projections)
    return x.device.type == "cpu" and dtype == torch.bfloat16 and alike


def project_heads(x: Tensor, projections: Sequence[nn.Module], num_heads: int) -> Tuple[Tensor, ...]:
    """[T, B, D] -> of each projection its heads [B * H, T, d] in bfloat16."""
    num_frames, num_clips, dim = x.shape
    weights, biases = [p.weight for p in projections], [p.bias for p in projections]
    found = _Joint.apply(x.to(torch.bfloat16).reshape(-1, dim), num_heads, len(projections), *weights, *biases)
    return tuple(heads.unflatten(0, (num_frames, num_clips)).flatten(1, 2).transpose(0, 1) for heads in found)


class _Joint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, num_heads: int, count: int, *parameters: Tensor) -> Tuple[Tensor, ...]:
        """x [N, D]; count weights [D', D], then biases [D'] -> count tensors [N, H, d]; the joined weight has its rows by head."""
        weights, biases = parameters[:count], parameters[count:]
        weight = x.new_empty(num_heads, count, weights[0].size(0) // num_heads, x.size(1))
        bias = x.new_empty(weight.shape[:-1])
        for number in range(count):
            weight[:, number] = weights[number].view_as(weight[:, number])
            bias[:, number] = biases[number].view_as(bias[:, number])
        out = product(x, weight.flatten(0, 2).t(), bias.flatten()).view(len(x), *bias.shape)
        ctx.save_for_backward(x, weight)
        ctx.dtypes = [parameter.dtype for parameter in parameters]
        return tuple(out.unbind(2))

    @staticmethod
    @differentiated_once
    def backward(ctx, *grads: Tensor):
        """Those of x and of all parameters."""
        x, weight = ctx.saved_tensors
        grad = torch.stack(grads, 2).flatten(1)  # [N, H * count * d]
        grad_weight, grad_bias = (grad.t() @ x).view_as(weight), grad.sum(0).view(weight.shape[:-1])
        parts = [part.flatten(0, 1) for part in (*grad_weight.unbind(1), *grad_bias.unbind(1))]
        return product(grad, weight.flatten(0, 2)), None, None, *(part.to(dtype) for part, dtype in zip(parts, ctx.dtypes))
