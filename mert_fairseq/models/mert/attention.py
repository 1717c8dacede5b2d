"""Scaled dot-product attention of a sequence to itself.

For training on a CPU the products are written out, forward and backward: torch's fused kernel took 1.2 to 4 times as long there, both
passes together (112 and 374 frames, float32 and bfloat16). Elsewhere the fused kernel runs, whose memory does not grow with frames^2.
"""

from typing import Optional

import torch
import torch.nn.functional as F
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from mert_fairseq.models.mert.dropout import draw_kept


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
        heads = [projection(query).view(num_frames, num_clips * self.num_heads, -1).transpose(0, 1) for projection in projections]
        padding = None if key_padding_mask is None else key_padding_mask.bool().repeat_interleave(self.num_heads, 0)
        dropout = self.dropout if self.training else 0.0
        if query.device.type == "cpu" and torch.is_grad_enabled():
            attended = WrittenOutAttention.apply(*heads, padding, dropout)
        else:
            visible = None if padding is None else ~padding[:, None]
            attended = F.scaled_dot_product_attention(*heads, attn_mask=visible, dropout_p=dropout)
        return self.out_proj(attended.transpose(0, 1).reshape(num_frames, num_clips, dim)), None


class WrittenOutAttention(torch.autograd.Function):
    """softmax(q k' / sqrt(d)) v with dropout on the weights; of [N, T, T] it keeps the weights and a byte each for what was dropped."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, padding: Optional[Tensor], dropout: float) -> Tensor:
        """q, k, v [N, T, d] of N = B * H heads, padding [N, T] bool or None -> [N, T, d]."""
        scores = torch.baddbmm(q.new_empty(()), q, k.transpose(1, 2), beta=0, alpha=q.size(-1) ** -0.5)
        if padding is not None:
            scores.masked_fill_(padding[:, None], float("-inf"))
        weights = scores.softmax(-1)
        del scores
        kept = draw_kept(weights.shape, dropout, q.device) if dropout > 0 else None
        attended = torch.bmm(weights if kept is None else weights * kept, v)
        if kept is not None:
            attended /= 1 - dropout
        ctx.save_for_backward(q, k, v, weights, kept, attended)
        ctx.dropout = dropout
        return attended

    @staticmethod
    def backward(ctx, grad: Tensor):
        """As published for FlashAttention (appendix B.2): the weights' part that softmax takes off is grad . attended, row by row."""
        q, k, v, weights, kept, attended = ctx.saved_tensors
        shared = (grad * attended).sum(-1, keepdim=True)
        grad = grad / (1 - ctx.dropout) if kept is not None else grad
        grad_v = torch.bmm((weights if kept is None else weights * kept).transpose(1, 2), grad)
        grad_scores = torch.bmm(grad, v.transpose(1, 2))
        if kept is not None:
            grad_scores *= kept
        grad_scores.sub_(shared).mul_(weights).mul_(q.size(-1) ** -0.5)
        return torch.bmm(grad_scores, k), torch.bmm(grad_scores.transpose(1, 2), q), grad_v, None, None
