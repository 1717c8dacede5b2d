"""Scaled dot-product attention of a sequence to itself.

For training on a CPU the products are written out, forward and backward: torch's fused kernel took 1.2 to 4 times as long there, both
passes together (112 and 374 frames, float32 and bfloat16). Elsewhere the fused kernel runs, whose memory does not grow with frames^2.
"""

from typing import Iterator, Optional

import torch
import torch.nn.functional as F
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from mert_fairseq.models.mert.differentiated_once import differentiated_once
from mert_fairseq.models.mert.dropout import draw_kept, keep
from mert_fairseq.models.mert.head_projections import project_heads, suits

SCORES = 1 << 17  # that each thread works on at a time: 512 KiB in float32, a quarter of a core's cache, with what is made of them


class SelfAttention(nn.Module):
    """Takes over the projections of fairseq's module, and their names."""

    def __init__(self, attention: MultiheadAttention):
        super().__init__()
        self.num_heads, self.dropout = attention.num_heads, attention.dropout_module.p
        self.q_proj, self.k_proj, self.v_proj = attention.q_proj, attention.k_proj, attention.v_proj
        self.out_proj = attention.out_proj

    def forward(self, query: Tensor, key_padding_mask: Optional[Tensor] = None, attn_mask: Optional[Tensor] = None, **_):
        """[T, B, D] -> ([T, B, D], None); key_padding_mask [B, T] bool, True on padding."""
        if attn_mask is not None:
            raise ValueError("attn_mask: only padding is masked in this encoder; give key_padding_mask")
        num_frames, num_clips, dim = query.shape
        projections = (self.q_proj, self.k_proj, self.v_proj)
        if suits(query, projections):
            heads = project_heads(query, projections, self.num_heads)
        else:
            heads = [projection(query).view(num_frames, num_clips * self.num_heads, -1).transpose(0, 1) for projection in projections]
        padding = None if key_padding_mask is None else key_padding_mask.bool().repeat_interleave(self.num_heads, 0)
        dropout = self.dropout if self.training else 0.0
        # In training without gradients too: activation checkpointing computes the same again with them, and must drop the same.
        if query.device.type == "cpu" and (self.training or torch.is_grad_enabled()):
            attended = WrittenOutAttention.apply(*heads, padding, dropout)  # the tensor that out_proj keeps as well
        else:
            visible = None if key_padding_mask is None else ~key_padding_mask.bool()[:, None, None]
            by_clip = (x.unflatten(0, (num_clips, self.num_heads)) for x in heads)  # torch's fused kernels take four dimensions
            attended = F.scaled_dot_product_attention(*by_clip, attn_mask=visible, dropout_p=dropout)
            attended = attended.flatten(0, 1).transpose(0, 1)
        return self.out_proj(attended.reshape(num_frames, num_clips, dim)), None


class WrittenOutAttention(torch.autograd.Function):
    """softmax(q k' / sqrt(d)) v with dropout on the weights, some heads at a time.

    The weights, [N, T, T], are computed again for the backward pass, which takes no longer than to write them to memory and to read them;
    but in half precision, where it does, they are kept, as they are and with dropout. A byte each says what dropout keeps.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, padding: Optional[Tensor], dropout: float) -> Tensor:
        """q, k, v [N, T, d] of N = B * H heads, padding [N, T] bool or None -> [T, N, d]."""
        num_heads, num_frames, dim = q.shape
        kept = draw_kept((num_heads, num_frames, num_frames), dropout, q.dtype) if dropout > 0 else None
        attended = q.new_empty(num_frames, num_heads, dim)
        for heads in _parts(q):
            weights = _weights(q[heads], k[heads], None if padding is None else padding[heads])
            applied = weights if kept is None else keep(weights, kept[heads], out=None if _keeps_weights(q) else weights)
            torch.mul(torch.bmm(applied, v[heads]).transpose(0, 1), 1 / (1 - dropout), out=attended[:, heads])
        stored = (None, weights, applied) if _keeps_weights(q) else (kept, None, None)
        ctx.save_for_backward(q, k, v, padding, attended, *stored)
        ctx.dropout = dropout
        return attended

    @staticmethod
    @differentiated_once
    def backward(ctx, grad: Tensor):
        """Of q, k and v."""
        q, k, v, padding, attended, kept, weights, applied = ctx.saved_tensors
        shared, dim = None if _keeps_weights(q) else (grad * attended).sum(-1).t().unsqueeze(-1), q.size(-1)
        grad = grad.transpose(0, 1) / (1 - ctx.dropout)
        grad_q, grad_k, grad_v = (q.new_empty(q.shape) for _ in range(3))
        for heads in _parts(q):
            if not _keeps_weights(q):
                weights = _weights(q[heads], k[heads], None if padding is None else padding[heads])
                applied = weights if kept is None else keep(weights, kept[heads])
            torch.bmm(applied.transpose(1, 2), grad[heads], out=grad_v[heads])
            grad_applied = torch.bmm(grad[heads], v[heads].transpose(1, 2))
            grad_scores = _grad_scores(grad_applied, weights, applied, None if shared is None else shared[heads])
            _scaled_bmm(grad_scores, k[heads], dim, out=grad_q[heads])
            _scaled_bmm(grad_scores.transpose(1, 2), q[heads], dim, out=grad_k[heads])
        return grad_q, grad_k, grad_v, None, None


def _keeps_weights(q: Tensor) -> bool:
    return q.element_size() == 2


def _parts(q: Tensor) -> Iterator[slice]:
    """Of q's N heads, [N, T, d], as many as are worked on at a time: what the caches hold, or all where the weights are kept."""
    num_heads, num_frames, _ = q.shape
    size = num_heads if _keeps_weights(q) else max(1, round(torch.get_num_threads() * SCORES / max(1, num_frames**2)))
    for first in range(0, num_heads, size):
        yield slice(first, first + size)


def _grad_scores(grad_applied: Tensor, weights: Tensor, applied: Tensor, shared: Optional[Tensor]) -> Tensor:
    """Of what softmax is taken of, [n, T, T], from the gradient of the weights behind dropout, which is written over.

    Without `shared`, in half precision, softmax's own, which sums in float32: what keys or values have in common cancels there, and
    rounded beforehand would leave a third of a gradient wrong. Else as published for FlashAttention (appendix B.2): the weights' part
    that softmax takes off is grad . attended, row by row.
    """
    if shared is not None:
        return grad_applied.mul_(applied).addcmul_(weights, shared, value=-1)
    if applied is not weights:
        grad_applied.mul_(applied != 0)
    return torch.ops.aten._softmax_backward_data(grad_applied, weights, -1, weights.dtype)


def _weights(q: Tensor, k: Tensor, padding: Optional[Tensor]) -> Tensor:
    """q, k [n, T, d], padding [n, T] bool -> [n, T, T]."""
    weights = _scaled_bmm(q, k.transpose(1, 2), q.size(-1), out=q.new_empty(*q.shape[:2], q.size(1)))
    if padding is not None:
        weights.masked_fill_(padding[:, None], float("-inf"))
    return torch.softmax(weights, -1, out=weights)


def _scaled_bmm(left: Tensor, right: Tensor, dim: int, out: Tensor) -> Tensor:
    """left [N, T, K] times right [N, K, M] over sqrt(dim), without a pass of its own for the factor."""
    return torch.baddbmm(out, left, right, beta=0, alpha=dim**-0.5, out=out)
