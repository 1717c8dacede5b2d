"""MERT: HuBERT over 24 kHz music, with code prediction over K codebooks, a CQT head and in-batch noise mixup.

Shapes: B batch, S samples, T frames, C conv channels, D model dim, K codebooks, V codebook entries, Q CQT bins, M masked frames.
"""

import contextlib
from dataclasses import replace
from typing import Dict, List, Optional, Sequence

import torch
from fairseq.data.data_utils import numpy_seed
from fairseq.models import register_model
from fairseq.models.hubert.hubert import HubertModel
from omegaconf import OmegaConf
from torch import Tensor

from mert_fairseq.class_ids import NUM_SPECIALS
from mert_fairseq.errors import MertError
from mert_fairseq.models.mert.code_prediction import CodePrediction, predict_codes
from mert_fairseq.models.mert.config import MERTConfig, check_settings, conv_layers_of
from mert_fairseq.models.mert.conv_stack import ConvStack
from mert_fairseq.models.mert.cqt_head import CQTHead
from mert_fairseq.models.mert.dropout import Dropout
from mert_fairseq.models.mert.encoder import MERTEncoder
from mert_fairseq.models.mert.flops import training_flops
from mert_fairseq.models.mert.masking import as_span_mask, draw_span_mask
from mert_fairseq.models.mert.noise_mixup import noise_mixup


@register_model("mert", dataclass=MERTConfig)
class MERTModel(HubertModel):
    """Names of the published weights are kept, so published checkpoints load.

    Args:
        cfg: settings of the model.
        task_cfg: settings of the task (sample_rate is read).
        codebook_sizes: V of each of the K codebooks.
    """

    def __init__(self, cfg: MERTConfig, task_cfg, codebook_sizes: List[int]):
        check_settings(cfg)
        self.conv_layers = conv_layers_of(cfg.conv_feature_layers)
        # HuBERT wants the stack as a string and anything with a length as a dictionary.
        super().__init__(_with_conv_string(cfg, self.conv_layers), task_cfg, [range(NUM_SPECIALS + v) for v in codebook_sizes])
        MERTEncoder.take_over(self.encoder, cfg)
        if cfg.extractor_mode == "default" and not cfg.conv_bias:
            self.feature_extractor = ConvStack(self.conv_layers)
        if cfg.feature_grad_mult <= 0:  # several processes would give it gradients of zeros, and weight decay would shrink it
            self.feature_extractor.requires_grad_(False)
        if self.feat2tar_ratio != 1:
            raise MertError(
                f"targets at {cfg.label_rate} Hz, the convolution stack gives {cfg.label_rate / self.feat2tar_ratio} frames per "
                "second: change model.conv_feature_layers or make targets at that rate"
            )
        self.dropout_input = Dropout(cfg.dropout_input)
        self.cfg = cfg
        self.num_updates = 0
        self.encoder_cqt_model = CQTHead(cfg.encoder_embed_dim, cfg.audio_cqt_bins) if cfg.audio_cqt_loss_m else None

    @classmethod
    def build_model(cls, cfg: MERTConfig, task) -> "MERTModel":
        """Called by fairseq."""
        return cls(cfg, task.cfg, task.codebook_sizes)

    def set_num_updates(self, num_updates: int) -> None:
        """Called by the trainer; the update's number is part of the seed of every random draw."""
        super().set_num_updates(num_updates)
        self.num_updates = num_updates

    def forward(
        self,
        source: Tensor,
        target_list: Optional[List[Tensor]] = None,
        padding_mask: Optional[Tensor] = None,
        mask: bool = True,
        features_only: bool = False,
        output_layer: Optional[int] = None,
        cqt_targets: Optional[Tensor] = None,
        ids: Optional[Sequence[int]] = None,
        mask_indices: Optional[Tensor] = None,
    ) -> Dict[str, object]:
        """Masked prediction, or features.

        Args:
            source: [B, S] wave, 24 kHz, not normalised.
            target_list: K tensors [B, T'] of class ids (code + 4).
            padding_mask: [B, S] bool, True on padding; None if the clips are equally long.
            mask: hide frames behind the mask embedding.
            features_only: return the encoder's output and stop.
            output_layer: 1-based layer whose output is wanted; None: the last one (with the final layer norm of pre-LN).
            cqt_targets: [B, T', Q] magnitudes; None: computed from `source` before it is mixed.
            ids: B numbers of the clips in their data set, part of the random seed; on the host, so that no device is waited for.
            mask_indices: [B, T] a mask to use instead of a drawn one.
        """
        ids = torch.as_tensor(range(len(source)) if ids is None else ids)
        # First of all, while no activations take up memory; of the wave before it is mixed.
        spectra = None if features_only or self.encoder_cqt_model is None else self.encoder_cqt_model.magnitudes(source, cqt_targets)
        with self._autocast(source.device):
            mixed = self.training and mask and not features_only
            wave = noise_mixup(source, self.cfg, ids, self.num_updates) if mixed else source
            features = self.forward_features(wave.to(self.mask_emb.dtype))
            if target_list is not None:
                features, target_list = self.forward_targets(features, target_list)
            features_pen = features.float().pow(2).mean()
            features, padding_mask = self._project(features, padding_mask)
            x, span_mask = self._hide(features, padding_mask, mask, mask_indices, ids)
            x = self._encode(x, padding_mask, output_layer)
        if features_only:
            return {"x": x, "padding_mask": padding_mask, "features": features}
        if span_mask is None:
            raise MertError(f"nothing is masked (model.mask_prob={self.cfg.mask_prob}, mask={mask}): no loss without masked frames")
        return {
            "codes_m": None if self.skip_masked else self._predict_codes(x, target_list, span_mask.masked),
            "codes_u": None if self.skip_nomask else self._predict_codes(x, target_list, span_mask.unmasked),
            "cqt_mse_m": None if spectra is None else self.encoder_cqt_model(x, spectra, span_mask.masked),
            "features_pen": features_pen,
            "num_masked": len(span_mask.masked),
            "num_frames": len(span_mask.masked) + len(span_mask.unmasked),
            "flops": training_flops(self.cfg, self.conv_layers, self.num_classes, source.shape, len(span_mask.masked)),
            "padding_mask": padding_mask,
        }

    @torch.no_grad()
    def hidden_states(self, source: Tensor, last: Optional[int] = None) -> List[Tensor]:
        """[B, S] wave -> L + 1 tensors [B, T, D], the transformer's input first, or up to that of layer `last`.

        No mask, no noise; for a model in evaluation mode.
        """
        with self._autocast(source.device):
            features = self.forward_features(source.to(self.mask_emb.dtype))
            return self.encoder.hidden_states(self._project(features, None)[0], last)

    def _project(self, features: Tensor, padding_mask: Optional[Tensor]):
        """[B, C, T] -> [B, T, D], and the padding mask at frame rate."""
        features = self.layer_norm(features.transpose(1, 2))
        if padding_mask is not None:
            padding_mask = self.forward_padding_mask(features, padding_mask)
        if self.post_extract_proj is not None:
            features = self.post_extract_proj(features)
        return self.dropout_input(features), padding_mask

    def _hide(self, features, padding_mask, mask, mask_indices, ids):
        """Puts the mask embedding on the masked frames; (x [B, T, D], SpanMask or None)."""
        if not mask or (self.cfg.mask_prob <= 0 and mask_indices is None):
            return features, None
        if mask_indices is not None:
            span_mask = as_span_mask(mask_indices, padding_mask, features.device)
        else:
            update = self.num_updates if self.training else 0  # the same masks at every validation
            span_mask = draw_span_mask(self.cfg, features.shape[:2], padding_mask, ids, update, features.device)
        hidden = torch.where(span_mask.indices.unsqueeze(-1), self.mask_emb.to(features.dtype), features)
        return hidden, span_mask

    def _encode(self, x: Tensor, padding_mask: Optional[Tensor], output_layer: Optional[int]) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        # fairseq draws layer drop from numpy's global state; seeded here, a resumed run drops the same layers.
        seeded = self.training and self.cfg.encoder_layerdrop > 0
        with numpy_seed(self.cfg.seed, self.num_updates) if seeded else contextlib.nullcontext():
            x, _ = self.encoder(x, padding_mask=padding_mask, layer=None if output_layer is None else output_layer - 1)
        return x

    def _predict_codes(self, x: Tensor, target_list: List[Tensor], positions: Tensor) -> CodePrediction:
        """Losses of all codebooks at the given positions of the batch laid end to end."""
        targets = torch.stack([target.flatten().index_select(0, positions) for target in target_list], dim=-1)
        projected = self.final_proj(x.flatten(0, 1).index_select(0, positions).to(self.final_proj.weight.dtype))
        num_codebooks = len(self.num_classes)
        if self.untie_final_proj:
            projected = projected.unflatten(-1, (num_codebooks, -1))
        else:
            projected = projected.unsqueeze(1).expand(-1, num_codebooks, -1)
        count = not self.training  # for the report and the alarms; a step of training does without
        return predict_codes(projected, targets.long(), self.label_embs_concat, self.num_classes, self.logit_temp, count)

    def matmul_dtype(self, device: torch.device) -> torch.dtype:
        """What matrices are multiplied in: bfloat16 where model.autocast asks for it ("auto" asks the device), else the weights' type."""
        wanted = self.cfg.autocast == "bf16" or (self.cfg.autocast == "auto" and _multiplies_bf16(device))
        return torch.bfloat16 if wanted else self.mask_emb.dtype

    def _autocast(self, device: torch.device):
        dtype = self.matmul_dtype(device)
        return contextlib.nullcontext() if dtype == self.mask_emb.dtype else torch.autocast(device.type, dtype=dtype)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def _with_conv_string(cfg: MERTConfig, conv_layers) -> MERTConfig:
    if OmegaConf.is_config(cfg):
        copy = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
        copy.conv_feature_layers = str(conv_layers)
        return copy
    return replace(cfg, conv_feature_layers=str(conv_layers))
