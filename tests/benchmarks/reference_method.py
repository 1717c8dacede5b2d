"""The published implementation's method on fairseq's stock modules: what the training step's figures are held against.

Frames laid beside every class for the code loss, the CQT by two dense time-domain convolutions, fused attention, convolutions over
[B, C, T]. Settings and arithmetic are the published ones; mask and audio are given from outside.
"""

from typing import List

import torch
import torch.nn.functional as F
from fairseq.models.hubert.hubert import HubertModel
from nnAudio.features.cqt import CQT
from torch import Tensor, nn


class ReferenceMERT(HubertModel):
    """HuBERT with a CQT head."""

    def __init__(self, cfg, task_cfg, codebook_sizes: List[int]):
        super().__init__(cfg, task_cfg, [range(4 + size) for size in codebook_sizes])
        bins = cfg.audio_cqt_bins
        self.cqt = CQT(sr=24000, hop_length=320, fmin=32.7, n_bins=bins, bins_per_octave=bins // 7, pad_mode="constant", verbose=False)
        self.cqt_head = nn.Linear(cfg.encoder_embed_dim, bins)

    def training_loss(self, source: Tensor, target_list: List[Tensor], mask: Tensor) -> Tensor:
        """Summed loss of wave [B, S], K targets [B, T] and mask [B, T]."""
        with torch.no_grad():
            spectra = self.cqt(source).transpose(1, 2)[:, : mask.size(1)]
        features = self.forward_features(source)
        penalty = features.float().pow(2).mean()
        x = self.dropout_input(self.post_extract_proj(self.layer_norm(features.transpose(1, 2))))
        x[mask] = self.mask_emb
        x, _ = self.encoder(x)
        masked = x[mask]
        losses = [10 * penalty * len(masked), F.mse_loss(self.cqt_head(masked), spectra[mask]) * len(masked)]
        tables = self.label_embs_concat.split(self.num_classes)
        for projected, target, table in zip(self.final_proj(masked).chunk(len(tables), -1), target_list, tables):
            losses.append(expanded_loss(self, projected, target[:, : mask.size(1)][mask], table))
        return torch.stack(losses).sum()


def expanded_loss(model: HubertModel, projected: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Cross-entropy of one codebook summed over M frames, through [V + 1, M, dim]; `model` needs logit_temp alone."""
    logits = HubertModel.compute_nce(model, projected, table[targets], table.unsqueeze(1).expand(-1, len(projected), -1))
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long), reduction="sum")
