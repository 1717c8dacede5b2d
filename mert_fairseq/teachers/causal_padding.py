"""EnCodec's causal convolution, with the same padding by quicker means.

torch's reflecting pad is slow on a CPU for what are a few samples beside a long signal: a third of the encoder's time. The same samples
put in front by concatenation give the same values bit for bit.
"""

import torch
from encodec.modules import SConv1d
from encodec.modules.conv import get_extra_padding_for_conv1d
from torch import Tensor, nn


class CausalConv1d(SConv1d):
    """[B, C, T] -> [B, C', ceil(T / stride)]: reflected samples on the left, and on the right what fills the last stride."""

    def forward(self, x: Tensor) -> Tensor:
        """As `SConv1d.forward`; a signal shorter than its padding is left to that."""
        convolution = self.conv.conv
        stride, kernel_size = convolution.stride[0], (convolution.kernel_size[0] - 1) * convolution.dilation[0] + 1
        left = kernel_size - stride
        right = get_extra_padding_for_conv1d(x, kernel_size, stride, left)
        if x.shape[-1] <= max(left, right):
            return super().forward(x)
        parts = [x[..., 1 : left + 1].flip(-1), x, x[..., -right - 1 : -1].flip(-1) if right else x[..., :0]]
        return self.conv(torch.cat(parts, dim=-1) if left or right else x)


def pad_quickly(network: nn.Module) -> None:
    """Makes every causal, reflecting convolution of an EnCodec network a `CausalConv1d`; its weights and their names stay."""
    for module in network.modules():
        if type(module) is SConv1d and module.causal and module.pad_mode == "reflect":
            module.__class__ = CausalConv1d
