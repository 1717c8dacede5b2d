"""GELU and the linear layer behind it as one operation, of which the input alone is kept for the backward pass.

In bfloat16 on a CPU, where memory is plenty and time is not, the GELU is kept as well.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mert_fairseq.models.mert.differentiated_once import differentiated_once
from mert_fairseq.models.mert.matrix_product import Linear, product, product_by_columns


class GeluLinear(Linear):
    """x [..., D] -> linear(gelu(x)) [..., D']."""

    def forward(self, x: Tensor) -> Tensor:
        """Gelu, then the layer; in autocast's type where that is on."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        flat = _GeluLinear.apply(x.to(dtype).reshape(-1, x.size(-1)), self.weight.to(dtype), self.bias.to(dtype))
        return flat.view(*x.shape[:-1], self.out_features)


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [N, D], weight [D', D], bias [D'] -> [N, D']."""
        active = F.gelu(x)
        ctx.save_for_backward(x, weight, active if x.device.type == "cpu" and x.dtype == torch.bfloat16 else None)
        return product(active, weight.t(), bias)

    @staticmethod
    @differentiated_once
    def backward(ctx, grad: Tensor):
        """Computes the GELU again where it was not kept."""
        x, weight, active = ctx.saved_tensors
        active = F.gelu(x) if active is None else active
        return torch.ops.aten.gelu_backward(product(grad, weight), x), product_by_columns(grad, active), grad.sum(0)
