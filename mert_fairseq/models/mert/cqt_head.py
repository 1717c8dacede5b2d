"""Prediction of the constant-Q spectrum of masked frames: one linear layer, mean squared error."""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.cqt import FastCQT
from mert_fairseq.teachers.cqt_kernels import CQTConfig


class CQTHead(nn.Module):
    """Linear(D -> Q) on masked frames; the transform that makes its targets has no weights and is in no checkpoint."""

    def __init__(self, encoder_dim: int, num_bins: int):
        super().__init__()
        self.num_bins = num_bins
        self.fc = nn.Linear(encoder_dim, num_bins)
        # The published transform always spans seven octaves: bins per octave = bins // 7.
        self.transform = FastCQT(CQTConfig(num_bins=num_bins, bins_per_octave=num_bins // 7))

    @torch.no_grad()
    def magnitudes(self, clean: Tensor, stored: Optional[Tensor]) -> Tensor:
        """Targets [B, T', Q], from the store if given, else of the clean wave [B, S]."""
        magnitudes = stored if stored is not None else self.transform(clean.float())
        if magnitudes.size(-1) != self.num_bins:
            raise MertError(f"CQT targets have {magnitudes.size(-1)} bins, model.audio_cqt_bins is {self.num_bins}")
        return magnitudes

    def forward(self, x: Tensor, magnitudes: Tensor, positions: Tensor) -> Tensor:
        """Mean squared error over frames and bins, 0 for no frames.

        Args:
            x: [B, T, D] the encoder's output.
            magnitudes: [B, T', Q], T' >= T.
            positions: [M] frames of the batch laid end to end (B * T).
        """
        if magnitudes.size(1) < x.size(1):
            raise MertError(f"CQT targets have {magnitudes.size(1)} frames, the clips have {x.size(1)}; run `mert labels cqt` again")
        masked = x.flatten(0, 1).index_select(0, positions).to(self.fc.weight.dtype)
        targets = magnitudes[:, : x.size(1)].flatten(0, 1).index_select(0, positions).float()
        return F.mse_loss(self.fc(masked).float(), targets, reduction="sum") / max(1, targets.numel())
