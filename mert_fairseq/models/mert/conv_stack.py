"""HuBERT's convolution stack with frames in rows: every layer is a few matrix products.

A convolution of kernel k and stride s over rows of C channels reads, for each output row, one block of s rows and the beginning of
the blocks after it: ceil(k / s) products of views [rows, s * C] with slices of the weight, no copy. A clip's rows are rounded up so
that all strides divide them; rows behind its last whole window are made of padding and of the next clip, feed only rows of that
kind, and are cut off at the end. Each layer keeps its input before the GELU alone and computes the GELU again in the backward pass; the
first layer's output, the widest of all and little work, is computed where the second layer reads it, and again for the backward pass: on
a CPU it is never there as a whole.
"""

from typing import Iterator, List, Tuple

import torch
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import ConvFeatureExtractionModel
from torch import Tensor, nn

from mert_fairseq.frames import num_conv_frames
from mert_fairseq.models.mert.differentiated_once import differentiated_once
from mert_fairseq.models.mert.matrix_product import add_product, add_product_by_columns, product

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
        windows, factors = normalised_conv(windows, conv.weight[:, 0], norm, num_conv_frames(num_samples, self.spec[:1]))
        if not later:
            return F.gelu((windows @ factors)[:, : num_conv_frames(num_samples, self.spec)]).transpose(1, 2)
        for number, ((conv, *_), (_, _, stride)) in enumerate(later):
            weight = conv.weight.permute(2, 1, 0).to(windows.dtype)
            x = GeluConv.apply(x, weight, stride) if number else GeluConvOfWindows.apply(windows, factors, weight, stride)
        return F.gelu(x.view(num_clips, -1, x.size(-1))[:, : num_conv_frames(num_samples, self.spec)]).transpose(1, 2)

    def _samples_per_frame(self) -> int:
        samples = 1
        for _, _, stride in self.spec:
            samples *= stride
        return samples


def normalised_conv(windows: Tensor, weight: Tensor, norm: nn.GroupNorm, num_valid: int) -> Tuple[Tensor, Tensor]:
    """First layer and its group norm (one channel per group) as one product.

    Mean and variance of each output channel over time follow from those of the k samples in a window, so the norm is a factor on the
    weight, clip by clip, and the wide output is written once. Its bias is the weight of one more sample, which is 1.

    Args:
        windows: [B, R, k] samples.
        weight: [C, k].
        norm: its weight and bias [C] and eps.
        num_valid: rows of each clip that are not padding; the others do not count.

    Returns:
        Two factors of the output, [B, R, k + 1] and [B, k + 1, C], in autocast's dtype where that is on.
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
        factors = torch.cat([scaled.transpose(1, 2), norm.bias.to(scaled).expand(len(scaled), 1, -1)], 1)
        return F.pad(centred, (0, 1), value=1.0).to(dtype), factors.to(dtype)


class GeluConvOfWindows(torch.autograd.Function):
    """`GeluConv` of the rows that are products [B, R, k] x [B, k, C]; they are computed again for the backward pass."""

    @staticmethod
    def forward(ctx, windows: Tensor, factors: Tensor, weight: Tensor, stride: int) -> Tensor:
        """With weight [k', C, C'], R a multiple of the stride: [B * R / s, C']."""
        ctx.save_for_backward(windows, factors, weight)
        ctx.stride = stride
        parts, blocks, width = _split(weight, stride), windows.unflatten(1, (-1, stride)), stride * weight.size(1)
        out = windows.new_empty(*blocks.shape[:2], weight.size(-1))
        for clips, first, last in _pieces(blocks, width):
            rows = blocks[clips, first : last + len(parts) - 1].flatten(1, 2) @ factors[clips]
            own = out[clips, first:last]
            own.copy_(_convolve(F.gelu(rows).view(-1, width), own[..., 0].numel(), parts).view_as(own))
        return out.flatten(0, 1)

    @staticmethod
    @differentiated_once
    def backward(ctx, grad: Tensor):
        """Of windows where wanted, factors and weight."""
        windows, factors, weight = ctx.saved_tensors
        parts, blocks, width = _split(weight, ctx.stride), windows.unflatten(1, (-1, ctx.stride)), ctx.stride * weight.size(1)
        grad, grad_parts, grad_factors = grad.view(*blocks.shape[:2], -1), [_sums_like(part) for part in parts], _sums_like(factors)
        grad_windows = torch.empty_like(blocks) if ctx.needs_input_grad[0] else None
        for clips, first, last in _pieces(blocks, width):
            own = blocks[clips, first:last].flatten(1, 2)
            rows = own @ factors[clips]
            _write_gradient(rows.view(-1, width), grad[clips].flatten(0, 1), first, parts, grad_parts)
            grad_factors[clips] += own.transpose(1, 2) @ rows
            if grad_windows is not None:
                grad_windows[clips, first:last] = (rows @ factors[clips].transpose(1, 2)).view_as(blocks[clips, first:last])
        grad_windows = None if grad_windows is None else grad_windows.flatten(1, 2)
        return grad_windows, grad_factors.to(factors.dtype), torch.cat(grad_parts).view_as(weight).to(weight.dtype), None


class GeluConv(torch.autograd.Function):
    """Convolution over the GELU of rows [R * s, C], with weight [k, C, C'] and stride s: [R, C'], without bias or padding.

    Some blocks of s rows at a time, so that what is computed from them is still in the processor's cache when it is used.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        """A window that runs over the end sees zeros there."""
        parts, blocks = _split(weight, stride), x.view(-1, stride * x.size(1))
        out = x.new_empty(len(blocks), weight.size(-1))
        for first, last in _chunks(*blocks.shape, x.device):
            out[first:last] = _convolve(F.gelu(blocks[first : last + len(parts) - 1]), last - first, parts)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.written_over = stride, False
        return out

    @staticmethod
    @differentiated_once
    def backward(ctx, grad: Tensor):
        """Gradients of rows and weight. Each chunk of x is written over by its gradient, so that no second array of its size is made."""
        if ctx.written_over:
            raise RuntimeError("the convolution stack can be differentiated once; run forward again")
        ctx.written_over = True
        x, weight = ctx.saved_tensors
        parts, blocks = _split(weight, ctx.stride), x.view(-1, ctx.stride * x.size(1))
        grad_parts = [_sums_like(part) for part in parts]
        for first, last in _chunks(*blocks.shape, x.device):
            _write_gradient(blocks[first:last], grad, first, parts, grad_parts)
        return x, torch.cat(grad_parts).view_as(weight).to(weight.dtype), None


def _convolve(active: Tensor, count: int, parts: List[Tensor]) -> Tensor:
    """`count` rows of output from the blocks [count or more, s * C] that they begin in."""
    out = product(active[:count, : len(parts[0])], parts[0])
    for ahead, part in enumerate(parts[1:], 1):
        seen = active[ahead : ahead + count, : len(part)]
        add_product(out[: len(seen)], seen, part)
    return out


def _write_gradient(blocks: Tensor, grad: Tensor, first: int, parts: List[Tensor], grad_parts: List[Tensor]) -> None:
    """Writes over blocks [n, s * C], those from `first` on, by their gradient; adds that of the weight. grad [all, C'] of the output."""
    active, last = F.gelu(blocks), first + len(blocks)
    own = product(grad[first:last], parts[0].t())
    if own.size(1) < blocks.size(1):  # a stride longer than the kernel
        own = F.pad(own, (0, blocks.size(1) - own.size(1)))
    for ahead, (part, grad_part) in enumerate(zip(parts, grad_parts)):
        reached = grad[max(0, first - ahead) : max(0, last - ahead)]
        skipped = len(blocks) - len(reached)  # the first windows have no window before them
        add_product_by_columns(grad_part, active[skipped:, : len(part)], reached)
        if ahead:
            add_product(own[skipped:, : len(part)], reached, part.t())
    torch.ops.aten.gelu_backward.grad_input(own, blocks, grad_input=blocks)


def _sums_like(tensor: Tensor) -> Tensor:
    """Zeros for sums over chunks, in float32 at least: in bfloat16 each would be rounded."""
    return torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))


def _pieces(blocks: Tensor, width: int) -> Iterator[Tuple[slice, int, int]]:
    """Clips, first block and block behind the last, of each chunk of blocks [B, n, ...]; not on a CPU all are one."""
    for clip in range(len(blocks) if blocks.device.type == "cpu" else 1):
        for first, last in _chunks(blocks.size(1), width, blocks.device):
            yield slice(clip, clip + 1) if blocks.device.type == "cpu" else slice(None), first, last


def _chunks(num_blocks: int, width: int, device: torch.device) -> Iterator[Tuple[int, int]]:
    """First block and block behind the last, of each chunk of blocks of `width` elements."""
    size = max(1, CHUNK // width) if device.type == "cpu" else num_blocks
    for first in range(0, num_blocks, size):
        yield first, min(first + size, num_blocks)


def _split(weight: Tensor, stride: int) -> List[Tensor]:
    """[k, C, C'] -> ceil(k / s) matrices [up to s * C, C'], for the blocks that a window touches."""
    return list(weight.reshape(-1, weight.size(-1)).split(stride * weight.size(1)))
