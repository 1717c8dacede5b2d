"""How large a model its settings ask for, before it is built: those of a file that somebody else made could fill the memory."""

from typing import Optional, Sequence

from mert_fairseq.class_ids import NUM_SPECIALS
from mert_fairseq.models.mert.config import MERTConfig, conv_layers_of

MAX_LAYERS = 1000
MOST_TIMES = 8  # that a model may be larger than the weights beside its settings; what differs is named once it is built
MAX_HEADS = 10**8  # numbers in the heads of a file that has none; the published ones are 0.9 million


def check_size(cfg: MERTConfig, sizes: Sequence[int], held: Optional[int]) -> None:
    """Raises ValueError for a model that is far larger than the weights found with its settings.

    Args:
        sizes: V of each codebook.
        held: numbers in those weights; None: there are none, the settings are trusted.
    """
    width, inner = cfg.encoder_embed_dim, cfg.encoder_ffn_embed_dim
    if not 1 <= cfg.encoder_layers <= MAX_LAYERS:
        raise ValueError(f"{cfg.encoder_layers} layers")
    if min(width, inner, cfg.conv_pos, cfg.conv_pos_groups, cfg.final_dim, cfg.audio_cqt_bins) < 1:
        raise ValueError("a width below 1")
    if held is None:
        return
    channels, wanted = 1, cfg.encoder_layers * (4 * width**2 + 2 * width * inner) + width**2 // cfg.conv_pos_groups * cfg.conv_pos
    for out, kernel, _ in conv_layers_of(cfg.conv_feature_layers):
        wanted, channels = wanted + channels * out * kernel, out
    heads = (sum(sizes) + len(sizes) * (width + NUM_SPECIALS)) * cfg.final_dim + width * cfg.audio_cqt_bins
    if wanted + width * channels > MOST_TIMES * held or heads > max(held, MAX_HEADS):
        raise ValueError(f"they ask for {wanted + heads:.3g} weights, {held:.3g} are there")
