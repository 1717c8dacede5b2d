"""GELU and the linear layer behind it as one operation, of which the input alone is kept for the backward pass."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mert_fairseq.models.mert.matrix_product import Linear, product


class GeluLinear(Linear):
    """x [..., D] -> linear(gelu(x)) [..., D']."""

    def forward(self, x: Tensor) -> Tensor:
        """Gelu, then the layer; in autocast's type where that is on."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        flat = _GeluLinear.apply(x.to(dtype).flatten(0, -2), self.weight.to(dtype), self.bias.to(dtype))
        return flat.unflatten(0, x.shape[:-1])


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [N, D], weight [D', D], bias [D'] -> [N, D']."""
        ctx.save_for_backward(x, weight)
        return product(F.gelu(x), weight.t(), bias)

    @staticmethod
    def backward(ctx, grad: Tensor):
        """Computes the GELU again."""
        x, weight = ctx.saved_tensors
        return torch.ops.aten.gelu_backward(product(grad, weight), x), grad.t() @ F.gelu(x), grad.sum(0)
