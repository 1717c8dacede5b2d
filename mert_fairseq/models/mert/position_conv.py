"""The convolution that tells the encoder about positions: kernel of 128 frames, 16 groups, weight norm.

On a CPU by Fourier transform where a group has few channels; else directly, with a gradient of the input that is a convolution too. In
bfloat16 the windows are written out for one matrix product, which took two thirds of the time of torch's convolution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mert_fairseq.models.mert.differentiated_once import differentiated_once
from mert_fairseq.weight_norm import normed_weight

#: Channels per group up to which the transform is used. With 8 (mert_tiny) it took a third of the direct convolution's time in float32
#: and half in bfloat16, on two cores; with 48 (mert_base) 0.8 and 1.3 times.
MOST_CHANNELS = 16
ROWS = 256  # of windows written out at once: 50 MB for mert_base
TAPS = 8  # of the kernel's, whose gradients are computed at once


class PositionConv(nn.Sequential):
    """fairseq's convolution, cut and GELU under their names."""

    @staticmethod
    def suits(pos_conv: nn.Module) -> bool:
        """Whether it is the one weight-normed convolution that this class runs."""
        conv = pos_conv[0] if isinstance(pos_conv, nn.Sequential) else None
        return isinstance(conv, nn.Conv1d) and hasattr(conv, "weight_g")

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T] -> [B, D, T]."""
        if x.device.type != "cpu":
            return super().forward(x)
        conv = self[0]
        direct = conv.in_channels // conv.groups > MOST_CHANNELS
        wanted = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        dtype = wanted if direct else torch.promote_types(wanted, torch.float32)  # there is no Fourier transform in half precision
        with torch.autocast("cpu", enabled=False):
            convolve = DirectConv.apply if direct else correlate
            x_conv = convolve(x.to(dtype), normed_weight(conv).to(dtype), conv.groups, conv.padding[0])
            return F.gelu(x_conv + conv.bias.to(dtype).unsqueeze(-1)).to(x.dtype)


class DirectConv(torch.autograd.Function):
    """As `correlate`, by torch, whose own gradients took 1.5 to 2.5 times as long as these."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, groups: int, padding: int) -> Tensor:
        """x [B, D, T], weight [D, D / groups, k] -> [B, D, T]."""
        ctx.save_for_backward(x, weight)
        ctx.groups, ctx.padding = groups, padding
        return convolve(x, weight, groups, padding)

    @staticmethod
    @differentiated_once
    def backward(ctx, grad: Tensor):
        """Of x: the gradient, convolved with the weight turned around."""
        x, weight = ctx.saved_tensors
        dim, width, kernel = weight.shape
        turned = weight.view(ctx.groups, dim // ctx.groups, width, kernel).transpose(1, 2).flip(-1).reshape(-1, dim // ctx.groups, kernel)
        grad_x = convolve(grad, turned, ctx.groups, kernel - 1 - ctx.padding)
        return grad_x, correlations(x, grad, ctx.groups, ctx.padding, kernel), None, None


def convolve(x: Tensor, weight: Tensor, groups: int, before: int) -> Tensor:
    """Grouped convolution, as long as its input, whose window of a frame begins `before` frames ahead of it.

    Args:
        x: [B, D, T].
        weight: [D, D / groups, k].
    """
    num_clips, dim, num_frames = x.shape
    kernel = weight.size(-1)
    padded = F.pad(x, (before, kernel - 1 - before))
    if x.dtype != torch.bfloat16:
        return F.conv1d(padded, weight, groups=groups)
    windows = padded.view(num_clips, groups, dim // groups, -1).unfold(-1, kernel, 1)  # [B, G, D/G, T, k]
    by_output = weight.view(groups, dim // groups, -1).transpose(1, 2)
    out = x.new_empty(num_clips, groups, num_frames, dim // groups)
    for clip in range(num_clips):
        for first in range(0, num_frames, ROWS):
            rows = windows[clip, :, :, first : first + ROWS].transpose(1, 2).flatten(2)
            torch.bmm(rows, by_output, out=out[clip, :, first : first + ROWS])
    return out.transpose(2, 3).reshape(num_clips, dim, num_frames)


def correlations(x: Tensor, grad: Tensor, groups: int, padding: int, kernel: int) -> Tensor:
    """Gradient of a grouped convolution's weight: for every tap the product of the gradient and the input moved by it, some at a time.

    Args:
        x: [B, D, T].
        grad: [B, D, T] of the convolution's output.

    Returns:
        [D, D / groups, kernel].
    """
    num_clips, dim, num_frames = grad.shape
    width = dim // groups
    by_group = grad.view(num_clips, groups, width, num_frames).permute(1, 2, 0, 3).reshape(groups, width, -1)
    padded = F.pad(x, (padding, padding)).view(num_clips, groups, width, -1)
    found = grad.new_empty(dim, width, kernel)
    for first in range(0, kernel, TAPS):
        taps = min(TAPS, kernel - first)
        moved = padded[..., first : first + num_frames + taps - 1].unfold(-1, num_frames, 1)  # [B, G, D/G, taps, T]
        moved = moved.permute(1, 2, 3, 0, 4).reshape(groups, width * taps, -1)
        found[..., first : first + taps] = torch.bmm(by_group, moved.transpose(1, 2)).view(dim, width, taps)
    return found


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
