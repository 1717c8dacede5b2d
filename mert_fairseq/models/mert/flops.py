"""Arithmetic of a training step, counted from the shapes: what the model's definition asks for, however it is carried out.

A product of [m, k] and [k, n] counts 2 m k n. Backward costs each product twice more, once where its input needs no gradient.
Element-wise work, the CQT targets and the optimizer are not counted.
"""

from typing import Sequence, Tuple

from mert_fairseq.frames import num_conv_frames


def training_flops(
    cfg, conv_layers: Sequence[Tuple[int, int, int]], num_classes: Sequence[int], shape: Tuple[int, int], masked: int
) -> int:
    """Floating-point operations of forward and backward.

    Args:
        cfg: settings of the model.
        num_classes: classes of each codebook.
        shape: (B, S) of the batch.
        masked: frames whose targets are predicted, M.
    """
    num_clips, num_samples = shape
    frames = num_clips * num_conv_frames(num_samples, conv_layers)
    convolutions = _conv_flops(conv_layers, num_clips, num_samples, backward=cfg.feature_grad_mult > 0)
    return convolutions + 3 * (_encoder_flops(cfg, conv_layers[-1][0], frames, num_clips) + _head_flops(cfg, num_classes, masked))


def _conv_flops(conv_layers, num_clips: int, num_samples: int, backward: bool) -> int:
    """Forward, and backward if wanted; the wave needs no gradient."""
    total, channels_in = 0, 1
    for layer, (channels, kernel, _) in enumerate(conv_layers, 1):
        product = 2 * num_clips * num_conv_frames(num_samples, conv_layers[:layer]) * channels_in * channels * kernel
        total += product * ((2 if layer == 1 else 3) if backward else 1)
        channels_in = channels
    return total


def _encoder_flops(cfg, channels: int, frames: int, num_clips: int) -> int:
    dim = cfg.encoder_embed_dim
    projection = 2 * frames * channels * dim if channels != dim else 0
    position = 2 * frames * dim * (dim // cfg.conv_pos_groups) * cfg.conv_pos
    products = 2 * frames * (4 * dim * dim + 2 * dim * cfg.encoder_ffn_embed_dim)
    attention = 4 * frames * (frames // num_clips) * dim
    layers = cfg.encoder_layers * (1 - cfg.encoder_layerdrop)  # on average
    return projection + position + int(layers * (products + attention))


def _head_flops(cfg, num_classes: Sequence[int], masked: int) -> int:
    dim, final_dim = cfg.encoder_embed_dim, cfg.final_dim if cfg.final_dim > 0 else cfg.encoder_embed_dim
    projections = final_dim * (len(num_classes) if cfg.untie_final_proj else 1)
    cqt = dim * cfg.audio_cqt_bins if cfg.audio_cqt_loss_m else 0
    return 2 * masked * (dim * projections + final_dim * sum(num_classes) + cqt)
