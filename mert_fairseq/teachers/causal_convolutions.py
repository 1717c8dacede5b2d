"""EnCodec's convolutions by quicker means on a CPU; weights and their names stay.

- torch's reflecting pad is slow for what are a few samples beside a long signal, a third of the encoder's time. The same samples put
  in front by concatenation give the same values bit for bit.
- The residual blocks are a few channels wide: for inference their convolutions are sums of matrix products over shifted views, three
  quarters of the time, and equal to rounding.
"""

import torch
import torch.nn.functional as F
from encodec.modules import SConv1d
from encodec.modules.conv import get_extra_padding_for_conv1d
from encodec.modules.seanet import SEANetResnetBlock
from torch import Tensor, nn

from mert_fairseq.weight_norm import normed_weight

NARROW = 32  # channels below which a strided convolution is computed in float32 on a CPU


class CausalConv1d(SConv1d):
    """[B, C, T] -> [B, C', ceil(T / stride)]: reflected samples on the left, and on the right what fills the last stride."""

    def forward(self, x: Tensor) -> Tensor:
        """As `SConv1d.forward`; a signal shorter than its padding is left to that."""
        if not self._is_wrong_in_bfloat16(x.device.type):
            return self._convolve(x)
        with torch.autocast("cpu", enabled=False):
            return self._convolve(x.float())

    def _is_wrong_in_bfloat16(self, device: str) -> bool:
        """On processors with AMX torch 2.13's product of 16 and fewer channels with strides of 4 and 8 was noise, without a word.

        Narrow ones take float32 under autocast on every CPU, so that codes do not depend on it.
        """
        convolution = self.conv.conv
        return device == "cpu" and torch.is_autocast_enabled("cpu") and convolution.stride[0] > 1 and convolution.in_channels < NARROW

    def _convolve(self, x: Tensor) -> Tensor:
        convolution = self.conv.conv
        stride, kernel_size = convolution.stride[0], (convolution.kernel_size[0] - 1) * convolution.dilation[0] + 1
        left = kernel_size - stride
        right = get_extra_padding_for_conv1d(x, kernel_size, stride, left)
        if x.shape[-1] <= max(left, right):
            return super().forward(x)
        parts = [x[..., 1 : left + 1].flip(-1), x, x[..., -right - 1 : -1].flip(-1) if right else x[..., :0]]
        return self.conv(torch.cat(parts, dim=-1) if left or right else x)


class ResidualBlock(SEANetResnetBlock):
    """[B, C, T] -> [B, C, T]: ELU, convolution of kernel k, ELU, one of kernel 1; beside it another of kernel 1; added."""

    def forward(self, x: Tensor) -> Tensor:
        """As `SEANetResnetBlock.forward`, which is called where gradients or lower precision are wanted, and on a GPU."""
        wide, narrow, shortcut = (module.conv.conv for module in (self.block[1], self.block[3], self.shortcut))
        left = wide.kernel_size[0] - 1
        plain = x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        if not plain or x.shape[-1] <= left:
            return super().forward(x)
        padded = x.new_empty(*x.shape[:-1], x.shape[-1] + left)
        torch.ops.aten.elu.out(x, out=padded[..., left:])
        padded[..., :left] = padded[..., left + 1 : 2 * left + 1].flip(-1)
        taps = [weight.expand(len(x), -1, -1) for weight in normed_weight(wide).unbind(-1)]
        hidden = torch.baddbmm(wide.bias.unsqueeze(-1), taps[0], padded[..., : x.shape[-1]])
        for tap, weight in enumerate(taps[1:], 1):
            hidden.baddbmm_(weight, padded[..., tap : tap + x.shape[-1]])
        across, behind = (normed_weight(conv)[..., 0].expand(len(x), -1, -1) for conv in (shortcut, narrow))
        return torch.baddbmm((narrow.bias + shortcut.bias).unsqueeze(-1), across, x).baddbmm_(behind, F.elu_(hidden))

    @classmethod
    def takes(cls, block: nn.Module) -> bool:
        """Whether it is a block of the shape that EnCodec's 24 kHz network has."""
        return (
            type(block) is SEANetResnetBlock
            and len(block.block) == 4
            and isinstance(block.shortcut, SConv1d)
            and all(module.causal and module.pad_mode == "reflect" for module in (block.block[1], block.block[3], block.shortcut))
            and [module.conv.conv.dilation[0] for module in (block.block[1], block.block[3])] == [1, 1]
            and [module.conv.conv.kernel_size[0] for module in (block.block[3], block.shortcut)] == [1, 1]
        )


def quicken(network: nn.Module) -> None:
    """Makes every causal, reflecting convolution of an EnCodec network a `CausalConv1d`, and its residual blocks `ResidualBlock`s."""
    for module in network.modules():
        if ResidualBlock.takes(module):
            module.__class__ = ResidualBlock
    for module in network.modules():
        if type(module) is SConv1d and module.causal and module.pad_mode == "reflect":
            module.__class__ = CausalConv1d
