"""Scaled dot-product attention of a sequence to itself.

For training on a CPU the products are written out, forward and backward: torch's fused kernel took 1.2 to 4 times as long there, both
passes together (112 and 374 frames, float32 and bfloat16). Elsewhere the fused kernel runs, whose memory does not grow with frames^2.
"""

from typing import Optional

import torch
import torch.nn.functional as F
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from mert_fairseq.models.mert.dropout import draw_dropped, draw_kept, keep
from mert_fairseq.models.mert.head_projections import project_heads, suits


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
    """softmax(q k' / sqrt(d)) v with dropout on the weights.

    One matrix [N, T, T] is kept, in which what dropout keeps is negative; in half precision two of half the size, which takes less time.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, padding: Optional[Tensor], dropout: float) -> Tensor:
        """q, k, v [N, T, d] of N = B * H heads, padding [N, T] bool or None -> [T, N, d]."""
        buffer = _scaled_bmm(q, k.transpose(1, 2), q.size(-1))
        if padding is not None:
            buffer.masked_fill_(padding[:, None], float("-inf"))
        weights = buffer.softmax(-1)
        applied = weights
        if dropout > 0 and weights.element_size() == 2:
            applied = keep(weights, draw_kept(weights.shape, dropout, weights.dtype))
        elif dropout > 0:
            weights.copysign_(draw_dropped(dropout, out=buffer))
            applied = torch.clamp(weights, max=0.0, out=buffer)
        signed = applied is buffer
        attended = torch.bmm(applied, v)
        if dropout > 0:
            attended.mul_((-1 if signed else 1) / (1 - dropout))
        attended = attended.transpose(0, 1).contiguous()
        ctx.save_for_backward(q, k, v, weights, None if signed else applied, attended)
        ctx.dropout = dropout
        return attended

    @staticmethod
    def backward(ctx, grad: Tensor):
        """As published for FlashAttention (appendix B.2): the weights' part that softmax takes off is grad . attended, row by row."""
        q, k, v, weights, applied, attended = ctx.saved_tensors
        shared = (grad * attended).sum(-1).t().unsqueeze(-1)
        grad, signed = grad.transpose(0, 1), applied is None
        if ctx.dropout > 0:
            grad = grad * ((-1 if signed else 1) / (1 - ctx.dropout))
        if signed:
            applied, weights = weights.clamp(max=0.0), weights.abs()
        grad_v = torch.bmm(applied.transpose(1, 2), grad)
        grad_scores = torch.bmm(grad, v.transpose(1, 2)).mul_(applied).addcmul_(weights, shared, value=-1)
        return _scaled_bmm(grad_scores, k, q.size(-1)), _scaled_bmm(grad_scores.transpose(1, 2), q, q.size(-1)), grad_v, None, None


def _scaled_bmm(left: Tensor, right: Tensor, dim: int) -> Tensor:
    """left [N, T, K] times right [N, K, M] over sqrt(dim), without a pass of its own for the factor."""
    return torch.baddbmm(left.new_empty(()), left, right, beta=0, alpha=dim**-0.5)
