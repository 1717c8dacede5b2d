"""fairseq's transformer encoder: its weights and values, in the form that is quickest on the device at hand."""

import logging

import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import TransformerEncoder
from fairseq.modules import MultiheadAttention
from torch import nn

from mert_fairseq.models.mert.attention import SelfAttention
from mert_fairseq.models.mert.dropout import Dropout
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
        """fairseq's layer with attention, activation and dropout replaced by equal, quicker ones."""
        layer = super().build_encoder_layer(args, **options)
        if type(getattr(layer, "self_attn", None)) is MultiheadAttention:
            layer.self_attn = SelfAttention(layer.self_attn)
            if args.activation_fn == "gelu":
                layer.activation_fn = F.gelu  # fairseq's goes to float32 and back, which torch's does inside
        for name, module in list(layer.named_children()):
            if type(module) is nn.Dropout:
                setattr(layer, name, Dropout(module.p))
        return layer
