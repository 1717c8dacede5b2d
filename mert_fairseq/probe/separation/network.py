"""Open-Unmix (Stoeter et al. 2019) with the frozen encoder's features for input, as MARBLE's MUSDB18 task has it."""

import torch
from torch import Tensor, nn

from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.spectrogram import NUM_BINS


class SeparationNetwork(nn.Module):
    """Features -> how much of the mixture's magnitude is one stem's; the mixture's spectrogram is no input.

    Args:
        num_layers: N of the features; their softmax-weighted sum is heard (weights start from N(0, 1)).
        dim: D of the features.
    """

    def __init__(self, num_layers: int, dim: int, settings: SeparationSettings):
        super().__init__()
        hidden, ways = settings.hidden, 2 if settings.bidirectional else 1
        self.layer_weights = nn.Parameter(torch.randn(num_layers))
        self.input_shift, self.input_scale = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.ones(dim))
        self.enter, self.enter_norm = nn.Linear(dim, hidden, bias=False), nn.BatchNorm1d(hidden)
        dropout = settings.dropout if settings.lstm_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            hidden, hidden // ways, settings.lstm_layers, batch_first=True, dropout=dropout, bidirectional=settings.bidirectional
        )
        self.middle, self.middle_norm = nn.Linear(2 * hidden, hidden, bias=False), nn.BatchNorm1d(hidden)
        self.leave, self.leave_norm = nn.Linear(hidden, NUM_BINS, bias=False), nn.BatchNorm1d(NUM_BINS)
        self.output_scale, self.output_shift = nn.Parameter(torch.ones(NUM_BINS)), nn.Parameter(torch.ones(NUM_BINS))

    def mix_layers(self, features: Tensor) -> Tensor:
        """[N, B, T, D] -> [B, T, D]."""
        return torch.tensordot(self.layer_weights.softmax(0), features, 1)

    def mask(self, mixed: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, 1025], from 0 up."""
        x = (mixed + self.input_shift) * self.input_scale
        x = torch.tanh(_over_frames(self.enter_norm, self.enter(x)))
        x = torch.cat([x, self.lstm(x)[0]], dim=-1)
        x = torch.relu(_over_frames(self.middle_norm, self.middle(x)))
        x = _over_frames(self.leave_norm, self.leave(x))
        return torch.relu(x * self.output_scale + self.output_shift)

    def forward(self, features: Tensor, mixture: Tensor) -> Tensor:
        """[N, B, T, D] and the mixture's magnitude [B, T, 1025] -> the stem's magnitude [B, T, 1025]."""
        return self.mask(self.mix_layers(features)) * mixture


def _over_frames(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """[B, T, H]: normalised over all frames of the batch."""
    return norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])
