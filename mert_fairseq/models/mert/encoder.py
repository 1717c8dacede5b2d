"""fairseq's transformer encoder: its weights and values, in the form that is quickest on the device at hand."""

import logging
from typing import List, Optional

import torch
import torch._functorch.config as functorch_config
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import TransformerEncoder
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from mert_fairseq.models.mert.attention import SelfAttention
from mert_fairseq.models.mert.dropout import Dropout, draw_uncompiled
from mert_fairseq.models.mert.gelu_linear import GeluLinear
from mert_fairseq.models.mert.matrix_product import Linear
from mert_fairseq.models.mert.position_conv import PositionConv

logger = logging.getLogger(__name__)

#: torch compiles a backward pass when it is first called, outside of everything that could go on without; with this one, with the forward.
WITH_FORWARD = "force_non_lazy_backward_lowering"


class MERTEncoder(TransformerEncoder):
    """Position convolution, then transformer layers."""

    @classmethod
    def take_over(cls, encoder: TransformerEncoder, cfg) -> None:
        """Makes fairseq's encoder one of these, in place: attention, activation, dropout, position convolution."""
        encoder.__class__ = cls
        if PositionConv.suits(encoder.pos_conv):
            encoder.pos_conv = PositionConv(*encoder.pos_conv)
        if cfg.compile:
            draw_uncompiled()
        for layer in encoder.layers:
            _quicken(layer, cfg.activation_fn)
            if cfg.compile:
                layer.compile()
        encoder.compiled = cfg.compile

    def extract_features(self, *args, **options):
        """fairseq's; where torch.compile fails, a warning says so and the layers run as they are."""
        if not self.compiled:
            return super().extract_features(*args, **options)
        try:
            with functorch_config.patch({WITH_FORWARD: True} if hasattr(functorch_config, WITH_FORWARD) else {}):
                return super().extract_features(*args, **options)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, OSError, ImportError) as error:  # what is wrong with the batch fails again below
            logger.warning(f"model.compile=true: torch.compile failed ({_reason(error)}); "
                           "training goes on without it; set model.compile=false to silence this")
            for layer in self.layers:
                layer._compiled_call_impl = None
            self.compiled = False
            return super().extract_features(*args, **options)

    def hidden_states(self, x: Tensor, last: Optional[int] = None) -> List[Tensor]:
        """[B, T, D] -> L + 1 tensors [B, T, D]: the first layer's input and every layer's output; for evaluation, all frames seen.

        That of layer L is behind the final norm of pre-LN, those between are not.

        Args:
            last: 0 .. L; layers behind it are not computed.
        """
        x = x + self.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        states = [x if self.layer_norm_first else self.layer_norm(x)]
        for layer in self.layers[:last]:
            states.append(layer(states[-1].transpose(0, 1), need_weights=False)[0].transpose(0, 1))
        if self.layer_norm_first and len(states) > len(self.layers):
            states[-1] = self.layer_norm(states[-1])
        return states


def _reason(error: BaseException) -> str:
    """In one line: of an error of torch's compiler, which names its backend alone in its first, what the backend raised."""
    cause = getattr(error, "inner_exception", None) or error.__cause__ or error
    said = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {said[0]}" if said else type(cause).__name__


def _quicken(layer: nn.Module, activation_fn: str) -> None:
    if type(getattr(layer, "self_attn", None)) is MultiheadAttention:
        layer.self_attn = SelfAttention(layer.self_attn)
        if activation_fn == "gelu":
            layer.activation_fn = F.gelu  # fairseq's goes to float32 and back, which torch's does inside
            if layer.activation_dropout == 0:
                layer.activation_fn, layer.fc2 = nn.Identity(), GeluLinear.like(layer.fc2)
    for parent in list(layer.modules()):
        for name, module in list(parent.named_children()):
            if type(module) is nn.Dropout:
                setattr(parent, name, Dropout(module.p))
            elif type(module) is nn.Linear:
                setattr(parent, name, Linear.like(module))
