"""HuBERT's convolution stack with frames in rows: every layer is a few matrix products.

A convolution of kernel k and stride s over rows of C channels reads, for each output row, one block of s rows and the beginning of
the blocks after it: ceil(k / s) products of views [rows, s * C] with slices of the weight, no copy. A clip's rows are rounded up so
that all strides divide them; rows behind its last whole window are made of padding and of the next clip, feed only rows of that
kind, and are cut off at the end. Each layer keeps its input before the GELU alone and computes the GELU again in the backward pass; the
first layer's output, half of the stack's memory and little work, is computed again as a whole, but in bfloat16 on a CPU, where memory is
plenty and time is not.
"""

from typing import Callable, Iterator, List, Optional, Tuple

import torch
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import ConvFeatureExtractionModel
from torch import Tensor, nn

from mert_fairseq.frames import num_conv_frames
from mert_fairseq.models.mert.matrix_product import add_product, product

CHUNK = 1 << 21  # elements of a layer's input worked on at a time on a CPU: 8 MiB in float32


class ConvStack(ConvFeatureExtractionModel):
    """fairseq's stack in mode "default" (one group norm, after the first layer): its weights, its values."""

    def __init__(self, conv_layers: List[Tuple[int, int, int]]):
        super().__init__(conv_layers=conv_layers, dropout=0.0, mode="default", conv_bias=False)
        self.spec = conv_layers

    def forward(self, x: Tensor) -> Tensor:
        """[B, S] wave -> [B, C, T] features (a view of [B, T, C])."""
        num_clips, num_samples = x.shape
        (_, kernel, stride), later = self.spec[0], list(zip(self.conv_layers, self.spec))[1:]
        rows = -(-num_samples // self._samples_per_frame()) * self._samples_per_frame() // stride
        windows = F.pad(x, (0, (rows - 1) * stride + kernel - num_samples)).unfold(1, kernel, stride)
        conv, _, norm, _ = self.conv_layers[0]
        x, again = normalised_conv(windows, conv.weight[:, 0], norm, num_conv_frames(num_samples, self.spec[:1]))
        again = None if x.device.type == "cpu" and x.dtype == torch.bfloat16 else again
        x = x.view(num_clips * rows, -1)
        for (conv, *_), (_, _, stride) in later:
            x, again = GeluConv.apply(x, conv.weight.permute(2, 1, 0).to(x.dtype), stride, again), None
        return F.gelu(x.view(num_clips, -1, x.size(-1))[:, : num_conv_frames(num_samples, self.spec)]).transpose(1, 2)

    def _samples_per_frame(self) -> int:
        samples = 1
        for _, _, stride in self.spec:
            samples *= stride
        return samples


def normalised_conv(windows: Tensor, weight: Tensor, norm: nn.GroupNorm, num_valid: int) -> Tuple[Tensor, Callable[[], Tensor]]:
    """First layer and its group norm (one channel per group) as one product.

    Mean and variance of each output channel over time follow from those of the k samples in a window, so the norm is a factor on the
    weight, clip by clip, and the wide output is written once.

    Args:
        windows: [B, R, k] samples.
        weight: [C, k].
        norm: its weight and bias [C] and eps.
        num_valid: rows of each clip that are not padding; the others do not count.

    Returns:
        [B, R, C], in autocast's dtype where that is on; and what computes the same again.
    """
    device = windows.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else windows.dtype
    with torch.autocast(device, enabled=False):
        # In float64: neighbouring samples are nearly equal, and a kernel that takes their difference cancels what they share.
        windows, weight = windows.double(), weight.double()
        centred = windows - windows[:, :num_valid].mean(1, keepdim=True)
        covariance = centred[:, :num_valid].transpose(1, 2) @ centred[:, :num_valid] / num_valid  # [B, k, k]
        variance = ((weight @ covariance) * weight).sum(-1)  # [B, C]
        scaled = weight * (norm.weight * torch.rsqrt(variance + norm.eps)).unsqueeze(-1)
        factors = norm.bias.to(dtype), centred.to(dtype), scaled.transpose(1, 2).to(dtype)
        constants = [factor.detach() for factor in factors]
        return torch.baddbmm(*factors), lambda: torch.baddbmm(*constants)


class GeluConv(torch.autograd.Function):
    """Convolution over the GELU of rows [R * s, C], with weight [k, C, C'] and stride s: [R, C'], without bias or padding.

    Some blocks of s rows at a time, so that what is computed from them is still in the processor's cache when it is used.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, again: Optional[Callable[[], Tensor]] = None) -> Tensor:
        """A window that runs over the end sees zeros there. Of an x that `again` computes, the widest of all, nothing is kept."""
        parts, blocks = _split(weight, stride), x.view(-1, stride * x.size(1))
        out = x.new_empty(len(blocks), weight.size(-1))
        for first, last in _chunks(blocks):
            active = F.gelu(blocks[first : last + len(parts) - 1])
            own = product(active[: last - first, : len(parts[0])], parts[0])
            for ahead, part in enumerate(parts[1:], 1):
                seen = active[ahead : ahead + last - first, : len(part)]
                add_product(own[: len(seen)], seen, part)
            out[first:last] = own
        ctx.save_for_backward(None if again else x, weight)
        ctx.stride, ctx.again, ctx.written_over = stride, again, False
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        """Gradients of rows and weight. Each chunk of x is written over by its gradient, so that no second array of its size is made."""
        if ctx.written_over:
            raise RuntimeError("the convolution stack can be differentiated once; run forward again")
        ctx.written_over = True
        x, weight = ctx.saved_tensors
        x = ctx.again().flatten(0, -2) if ctx.again else x
        parts, blocks = _split(weight, ctx.stride), x.view(-1, ctx.stride * x.size(1))
        # Sums over chunks are kept in float32 at least: in bfloat16 each would be rounded.
        grad_parts = [torch.zeros_like(part, dtype=torch.promote_types(part.dtype, torch.float32)) for part in parts]
        for first, last in _chunks(blocks):
            active = F.gelu(blocks[first:last])
            own = product(grad[first:last], parts[0].t())
            if own.size(1) < blocks.size(1):  # a stride longer than the kernel
                own = F.pad(own, (0, blocks.size(1) - own.size(1)))
            for ahead, (part, grad_part) in enumerate(zip(parts, grad_parts)):
                reached = grad[max(0, first - ahead) : max(0, last - ahead)]
                skipped = last - first - len(reached)  # the first windows have no window before them
                seen = active[skipped:, : len(part)]
                if grad_part.dtype == seen.dtype:
                    torch.addmm(grad_part, seen.t(), reached, out=grad_part)
                else:
                    grad_part += seen.t() @ reached
                if ahead:
                    add_product(own[skipped:, : len(part)], reached, part.t())
            torch.ops.aten.gelu_backward.grad_input(own, blocks[first:last], grad_input=blocks[first:last])
        return x, torch.cat(grad_parts).view_as(weight).to(weight.dtype), None, None


def _chunks(blocks: Tensor) -> Iterator[Tuple[int, int]]:
    """First block and block behind the last, of each chunk."""
    size = max(1, CHUNK // blocks.size(1)) if blocks.device.type == "cpu" else len(blocks)
    for first in range(0, len(blocks), size):
        yield first, min(first + size, len(blocks))


def _split(weight: Tensor, stride: int) -> List[Tensor]:
    """[k, C, C'] -> ceil(k / s) matrices [up to s * C, C'], for the blocks that a window touches."""
    return list(weight.reshape(-1, weight.size(-1)).split(stride * weight.size(1)))
