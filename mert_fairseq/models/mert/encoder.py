"""fairseq's transformer encoder: its weights and values, in the form that is quickest on the device at hand."""

import logging
from typing import Optional

import torch
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import TransformerEncoder
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from mert_fairseq.models.mert.position_conv import PositionConv

logger = logging.getLogger(__name__)


class MERTEncoder(TransformerEncoder):
    """Position convolution, then transformer layers."""

    def __init__(self, args):
        super().__init__(args)
        if PositionConv.suits(self.pos_conv):
            self.pos_conv = PositionConv(*self.pos_conv)
        self._trying_to_compile = args.compile
        if args.compile:
            for layer in self.layers:
                layer.compile()

    def extract_features(self, *args, **options):
        """fairseq's; where torch.compile fails at the first batch, a warning says so and the layers run as they are."""
        if not self._trying_to_compile:
            return super().extract_features(*args, **options)
        try:
            result = super().extract_features(*args, **options)
        except (RuntimeError, OSError, ImportError) as error:  # what is wrong with the batch fails again below
            reason = str(error).strip().splitlines()
            logger.warning(f"model.compile=true: torch.compile failed ({type(error).__name__}: {reason[0] if reason else ''}); "
                           "training goes on without it; set model.compile=false to silence this")
            for layer in self.layers:
                layer._compiled_call_impl = None
            result = super().extract_features(*args, **options)
        self._trying_to_compile = False
        return result

    def build_encoder_layer(self, args, **options):
        """fairseq's layer with attention and activation replaced by equal, quicker ones."""
        layer = super().build_encoder_layer(args, **options)
        if type(getattr(layer, "self_attn", None)) is MultiheadAttention:
            layer.self_attn = SelfAttention(layer.self_attn)
            if args.activation_fn == "gelu":
                layer.activation_fn = F.gelu  # fairseq's goes to float32 and back, which torch's does inside
        return layer


class SelfAttention(nn.Module):
    """Scaled dot-product attention of a sequence to itself with the projections of fairseq's module.

    For training on a CPU the products are written out: torch's fused kernel took 1.2 to 4 times as long there, forward and backward
    together (112 and 374 frames, float32 and bfloat16). Elsewhere the fused kernel runs, whose memory does not grow with frames^2.
    """

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
        attend = self._attend_written_out if query.device.type == "cpu" and torch.is_grad_enabled() else self._attend_fused
        attended = attend(*heads, None if key_padding_mask is None else key_padding_mask.bool())
        return self.out_proj(attended.transpose(0, 1).reshape(num_frames, num_clips, dim)), None

    def _attend_written_out(self, q: Tensor, k: Tensor, v: Tensor, padding: Optional[Tensor]) -> Tensor:
        """[B * H, T, D / H] each -> the same."""
        scores = torch.baddbmm(q.new_zeros(()), q, k.transpose(1, 2), beta=0, alpha=q.size(-1) ** -0.5)
        if padding is not None:
            scores = scores.view(len(padding), self.num_heads, *scores.shape[1:]).masked_fill(padding[:, None, None], float("-inf"))
            scores = scores.flatten(0, 1)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        return torch.bmm(weights, v)

    def _attend_fused(self, q: Tensor, k: Tensor, v: Tensor, padding: Optional[Tensor]) -> Tensor:
        """[B * H, T, D / H] each -> the same."""
        q, k, v = (x.unflatten(0, (-1, self.num_heads)) for x in (q, k, v))
        visible = None if padding is None else ~padding[:, None, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=self.dropout if self.training else 0.0)
        return attended.flatten(0, 1)
