"""Names of the encoder's weights: fairseq's (also those of published MERT checkpoints) and Hugging Face's HuBERT.

MERT without its CQT input is a HuBERT, so `transformers.HubertModel` holds all of the encoder. What predicts targets has no place
there: final projections, label embeddings and the CQT head are HEADS.
"""

import re
from typing import Dict

from torch import Tensor

HEADS = ("final_proj.", "label_embs_concat", "encoder_cqt_model.")

#: fairseq's name -> Hugging Face's, applied in order to the beginning of a name.
RULES = (
    (r"mask_emb$", "masked_spec_embed"),
    (r"layer_norm\.", "feature_projection.layer_norm."),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.1\.", r"feature_extractor.conv_layers.\1.layer_norm."),  # extractor_mode layer_norm
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"encoder\.pos_conv\.0\.weight_g$", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v$", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (r"encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
    (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
)


def is_head(name: str) -> bool:
    """Whether a weight of the training model belongs to what predicts targets."""
    return name.startswith(HEADS)


def hugging_face_name(name: str) -> str:
    """fairseq's name of an encoder weight -> Hugging Face's; layer norms of the encoder keep theirs."""
    for pattern, replacement in RULES:
        renamed, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return renamed
    return name


def to_hugging_face(weights: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """The encoder's weights under Hugging Face's names, without the heads."""
    return {hugging_face_name(name): tensor for name, tensor in weights.items() if not is_head(name)}


def from_hugging_face(weights: Dict[str, Tensor], wanted: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Hugging Face's weights under the names of `wanted`, a training model's state; names that are not wanted stay as they are.

    The position convolution's weight norm is also read under its older names (weight_g, weight_v), as published folders have it.
    """
    renamed = {hugging_face_name(name): name for name in wanted if not is_head(name)}
    for part, kept in (("g", "original0"), ("v", "original1")):
        renamed[f"encoder.pos_conv_embed.conv.weight_{part}"] = renamed[f"encoder.pos_conv_embed.conv.parametrizations.weight.{kept}"]
    return {renamed.get(name.removeprefix("hubert."), name): tensor for name, tensor in weights.items()}
