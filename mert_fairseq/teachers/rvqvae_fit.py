"""Fit the acoustic teacher on the user's own music: autoencoder first, codebooks afterwards, in minutes on one CPU thread.

Quantising from the first step collapses at this budget (every codebook to one code): untrained latents are nearly constant.
So the phases are: a variance-preserving start; the autoencoder alone; residual k-means on a sample of its latents; a short
fine-tuning through the quantiser that is kept only where held-out figures say so.
"""

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Callable, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP, SAMPLE_RATE
from mert_fairseq.teachers.clip_sampler import ClipSampler, Track
from mert_fairseq.teachers.fit_report import FitReport, measure
from mert_fairseq.teachers.reconstruction_loss import ReconstructionLoss
from mert_fairseq.teachers.residual_kmeans import fit_codebooks, principal_part, silent
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # phase, done, total


@dataclass(frozen=True)
class FitSettings:
    """How a teacher is fitted. With `max_seconds` None the updates alone decide and a seed gives the same weights again."""

    model: RVQVAESettings = field(default_factory=RVQVAESettings)
    updates: int = 700  # of the autoencoder alone
    finetune_updates: int = 0  # through the quantiser; kept only if no codebook loses usage, which on music was not seen yet
    max_seconds: Optional[float] = None  # for all phases; the autoencoder ends at 75 % of it (60 % before fine-tuning), fine-tuning at 90 %
    batch_size: int = 8
    clip_s: float = 0.4
    learning_rate: float = 1e-3  # cosine down to 0
    waveform_weight: float = 10.0  # of the L1 of the (gained) wave beside the mel terms, each with weight 1
    commitment_weight: float = 1.0
    kmeans_frames: int = 50_000
    principal_components: int = 64  # of the latents' 128 dimensions, seen by the codebooks
    kmeans_iterations: int = 10
    heldout_frames: int = 12_000
    seed: int = 1


def reinitialise(model: nn.Module, generator: torch.Generator) -> None:
    """Give every convolution weights that keep the variance (sd 1.2 / sqrt(fan-in)) and no bias.

    torch's default shrinks the signal at each of some twenty layers until the latents are a constant.
    """
    for module in model.modules():
        if not isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
            continue
        fan_in = module.in_channels * module.kernel_size[0]
        if isinstance(module, nn.ConvTranspose1d):
            fan_in //= module.stride[0]  # only every stride-th tap meets an input
        weight = torch.randn(module.weight_v.shape, generator=generator) * 1.2 / math.sqrt(fan_in)
        with torch.no_grad():
            module.weight_v.copy_(weight)
            module.weight_g.copy_(weight.norm(dim=(1, 2), keepdim=True))
            module.bias.zero_()


def _train(
    step: Callable[[Tensor], Tensor], parameters: List[Tensor], clips: ClipSampler, settings: FitSettings,
    updates: int, learning_rate: float, seconds: Optional[float], progress: Callable[[int, int], None],
) -> int:
    """Adam with a cosine schedule over what is used up first, updates or seconds; returns the updates made."""
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.8, 0.99))
    started, num_samples = time.monotonic(), round(settings.clip_s * SAMPLE_RATE / HOP) * HOP
    for done in range(updates):
        used = max(done / updates, (time.monotonic() - started) / seconds if seconds else 0.0)
        if used >= 1.0:
            return done
        optimizer.param_groups[0]["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * used))
        loss = step(clips.batch(settings.batch_size, num_samples))
        if not torch.isfinite(loss):
            raise MertError(f"the teacher's loss became {loss.item()} at update {done}; use a lower learning rate than {learning_rate}")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        progress(done + 1, updates)
    return updates


@torch.no_grad()
def sample_latents(model: RVQVAE, clips: ClipSampler, num_frames: int, window_s: float = 4.0, context_s: float = 0.5) -> Tensor:
    """[num_frames, D] from random windows whose first frames, which lack context, are dropped."""
    window, context = (round(seconds * SAMPLE_RATE / HOP) for seconds in (window_s, context_s))
    parts, batch = [], 4
    for _ in range(-(-num_frames // (batch * (window - context)))):
        parts.append(model.latents(clips.batch(batch, window * HOP))[:, :, context:].transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)[:num_frames]


def _quantised_loss(model: RVQVAE, loss: ReconstructionLoss, commitment_weight: float) -> Callable[[Tensor], Tensor]:
    """Loss through the fixed codebooks: gradients pass the quantiser unchanged, and latents are drawn to their codes."""

    def step(wave: Tensor) -> Tensor:
        latents = model.latents(wave)
        with torch.no_grad():
            quantised = model.dequantise(model.quantise(latents))
        estimate = model.synthesise(latents + (quantised - latents).detach())
        return loss(estimate, wave) + commitment_weight * (latents - quantised).pow(2).mean() / quantised.var()

    return step


class _Fit:
    """One fit's model, clips and clock; `fit_rvqvae` is its table of contents."""

    def __init__(self, tracks: Sequence[Track], heldout: Sequence[Track], settings: FitSettings, progress: Optional[Progress]) -> None:
        self.settings, self.started = settings, time.monotonic()
        self.progress = progress or silent
        self.generator = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)  # the LSTMs keep torch's own start
            self.model = RVQVAE(settings.model)
        reinitialise(self.model, self.generator)
        self.clips = ClipSampler(tracks, settings.seed)
        sampler, samples = ClipSampler(heldout, settings.seed), 600 * HOP
        count = -(-min(settings.heldout_frames, sampler.num_frames) // (4 * 600))
        self.heldout = [sampler.batch(4, samples) for _ in range(count)]
        self.loss = ReconstructionLoss(settings.waveform_weight, settings.model.input_gain)

    def seconds_until(self, share: float) -> Optional[float]:
        limit = self.settings.max_seconds
        return None if limit is None else max(1e-3, share * limit - (time.monotonic() - self.started))

    def autoencoder(self) -> int:
        model, settings = self.model, self.settings
        return _train(lambda wave: self.loss(model.synthesise(model.latents(wave)), wave), list(model.parameters()), self.clips,
                      settings, settings.updates, settings.learning_rate, self.seconds_until(0.6 if settings.finetune_updates else 0.75),
                      lambda done, total: self.progress("autoencoder", done, total))

    def codebooks(self) -> None:
        settings = self.settings
        latents = sample_latents(self.model, self.clips, min(settings.kmeans_frames, self.clips.num_frames))
        self.model.codebooks.copy_(fit_codebooks(
            principal_part(latents, settings.principal_components), settings.model.num_codebooks, settings.model.codebook_size,
            settings.kmeans_iterations, self.generator, lambda done, total: self.progress("codebooks", done, total)))

    def finetune(self) -> int:
        settings = self.settings
        step = _quantised_loss(self.model, self.loss, settings.commitment_weight)
        return _train(step, list(self.model.parameters()), self.clips, settings, settings.finetune_updates,
                      settings.learning_rate / 3, self.seconds_until(0.9),
                      lambda done, total: self.progress("fine-tuning", done, total))


def fit_rvqvae(
    tracks: Sequence[Track], heldout: Sequence[Track], settings: FitSettings, progress: Optional[Progress] = None
) -> Tuple[RVQVAE, FitReport]:
    """Fit a teacher on `tracks`; every figure of the report comes from `heldout`."""
    for name, some in (("tracks", tracks), ("heldout", heldout)):
        if not sum(track.num_samples for track in some):
            raise MertError(f"{name} holds no audio; allowed: at least one track; check the manifest: mert manifest AUDIO_DIR OUT")
    fit = _Fit(tracks, heldout, settings, progress)
    updates = fit.autoencoder()
    fit.codebooks()
    report = measure(fit.model, fit.heldout)
    if settings.finetune_updates:
        before = {name: value.clone() for name, value in fit.model.state_dict().items()}
        tuned_updates = fit.finetune()
        tuned = measure(fit.model, fit.heldout)
        kept = tuned.log_mel_l1 < report.log_mel_l1 and all(a >= b for a, b in zip(tuned.perplexity, report.perplexity))
        decision = dict(before=report.to_dict(), after=tuned.to_dict())
        if kept:
            report, updates = tuned, updates + tuned_updates
        else:
            fit.model.load_state_dict(before)
        report.finetune_kept, report.finetune = kept, decision
    report.updates, report.seconds = updates, time.monotonic() - fit.started
    return fit.model.eval(), report
