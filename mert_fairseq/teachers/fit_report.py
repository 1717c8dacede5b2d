"""The figures of a fitted teacher on held-out music."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Sequence

import torch
from torch import Tensor

from mert_fairseq.frames import HOP
from mert_fairseq.teachers.code_statistics import code_statistics
from mert_fairseq.teachers.reconstruction_loss import LogMel
from mert_fairseq.teachers.rvqvae import RVQVAE


@dataclass
class FitReport:
    """Held-out figures; lists have one number per codebook."""

    log_mel_l1: float = math.nan  # of the sound decoded from all codes; natural logarithm, 80 mel bands
    constant_log_mel_l1: float = math.nan  # the same for the mean spectrum at all times
    perplexity: List[float] = field(default_factory=list)  # exp(entropy) of the codes, at most V
    top_share: List[float] = field(default_factory=list)  # share of the most frequent code
    repeat_rate: List[float] = field(default_factory=list)  # share of frames with the code of the frame before
    residual_energy: List[float] = field(default_factory=list)  # left after each codebook, over the variance of the latents
    updates: int = 0
    seconds: float = 0.0
    finetune_kept: bool = False
    finetune: Dict[str, Any] = field(default_factory=dict)  # the figures that decided; empty: not tried

    def to_dict(self) -> Dict[str, Any]:
        return asdict(self)


@torch.no_grad()
def measure(model: RVQVAE, clips: Sequence[Tensor]) -> FitReport:
    """Held-out figures on clips [B, S] (each batch small enough for memory)."""
    log_mel = LogMel(1024, HOP, 80)
    codes, spectra, error, residual, energy = [], [], 0.0, 0.0, 0.0
    for wave in clips:
        latents = model.latents(wave)
        codes.append(model.quantise(latents))
        spectra.append(log_mel(wave))
        error += float((log_mel(model.decode(codes[-1])) - spectra[-1]).abs().mean()) / len(clips)
        partial = torch.stack([model.codebooks[k][codes[-1][:, k]] for k in range(model.num_codebooks)]).cumsum(0)
        residual += (latents.transpose(1, 2) - partial).pow(2).sum((1, 2, 3))
        energy += float((latents - latents.mean((0, 2), keepdim=True)).pow(2).sum())
    spectrum = torch.cat(spectra)
    constant = float((spectrum - spectrum.mean((0, 2), keepdim=True)).abs().mean())
    return FitReport(error, constant, *code_statistics(torch.cat(codes), model.codebook_size), (residual / energy).tolist())
