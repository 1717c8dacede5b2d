"""The convolution that tells the encoder about positions: kernel of 128 frames, 16 groups, weight norm; by Fourier transform."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mert_fairseq.weight_norm import normed_weight

#: Channels per group up to which the transform is used. With 8 (mert_tiny) it took a third of the direct convolution's time in float32
#: and half in bfloat16, on two cores; with 48 (mert_base) 0.8 and 1.3 times.
MOST_CHANNELS = 16


class PositionConv(nn.Sequential):
    """fairseq's convolution, cut and GELU under their names; on a CPU the convolution is a product of spectra."""

    @staticmethod
    def suits(pos_conv: nn.Module) -> bool:
        """Whether it is the one weight-normed convolution of few channels per group that this class runs."""
        conv = pos_conv[0] if isinstance(pos_conv, nn.Sequential) else None
        return isinstance(conv, nn.Conv1d) and hasattr(conv, "weight_g") and conv.in_channels // conv.groups <= MOST_CHANNELS

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T] -> [B, D, T]."""
        if x.device.type != "cpu":
            return super().forward(x)
        conv = self[0]
        exact = torch.promote_types(x.dtype, torch.float32)  # there is no Fourier transform in half precision
        with torch.autocast("cpu", enabled=False):
            x_conv = correlate(x.to(exact), normed_weight(conv).to(exact), conv.groups, conv.padding[0]) + conv.bias.to(exact).unsqueeze(-1)
        return F.gelu(x_conv).to(x.dtype)


def correlate(x: Tensor, weight: Tensor, groups: int, padding: int) -> Tensor:
    """Grouped convolution, as long as its input: F.conv1d(x, weight, padding=padding, groups=groups)[..., :T].

    Args:
        x: [B, D, T].
        weight: [D, D / groups, k].
    """
    num_clips, dim, num_frames = x.shape
    length = 1 << (num_frames + weight.size(-1) - 2).bit_length()  # a power of two, enough for nothing to wrap around
    x_hat = torch.fft.rfft(x, length).view(num_clips, groups, dim // groups, -1).permute(3, 1, 0, 2)  # [F, G, B, D/G]
    weight_hat = torch.fft.rfft(weight, length).conj().view(groups, dim // groups, dim // groups, -1).permute(3, 0, 2, 1)
    out = torch.fft.irfft((x_hat @ weight_hat).permute(2, 1, 3, 0).reshape(num_clips, dim, -1), length)
    return out.roll(padding, -1)[..., :num_frames]
