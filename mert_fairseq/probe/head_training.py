"""Training of one head on frozen features: Adam, the rate halved on a plateau, the best validation kept (MARBLE v1)."""

import copy
from dataclasses import dataclass
from typing import Iterator, Optional, Protocol, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mert_fairseq.errors import MertError
from mert_fairseq.probe.heads import Head
from mert_fairseq.probe.task import HeadSettings


class Examples(Protocol):
    """What a head of one layer, or of the sum of all, is trained on.

    Attributes:
        dim: D.
        outputs: C.
        num_summed: L where layers are summed.
        device: that heads live on.
    """

    dim: int
    outputs: int
    num_summed: Optional[int]
    device: torch.device

    def batches(self, size: int, order: np.random.Generator) -> Iterator[Tuple[Tensor, Tensor]]:
        """(features, targets) of one epoch in random order, `size` examples each and a rest."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over the examples of a batch."""

    def judge(self, head: Head) -> float:
        """Figure of the validation data that epochs are compared by, greater is better; -inf for outputs that are not finite."""

    def validate(self, head: Head) -> Tuple[float, str]:
        """Figure of the validation data that heads are compared by, and the decision (see `decisions`) that gave it."""

    def estimate(self, head: Head, split: str, decision: str) -> np.ndarray:
        """[n, ...] of the split's items, as `metrics` wants it."""


@dataclass(frozen=True)
class TrainedHead:
    """Attributes: the head as it was best, on which epoch (from 1), what validation said of it, and epochs in all."""

    head: Head
    judged: float
    epoch: int
    epochs: int


def train_head(examples: Examples, settings: HeadSettings, rate: float, seed: int) -> TrainedHead:
    """Trains until `patience` epochs brought nothing better, or outputs are no longer finite.

    Initial weights, dropout and order of examples follow from the seed alone, so that rates are compared like with like and a head
    comes out the same whatever was trained before it.
    """
    if not 0 < rate < 1 or settings.epochs < 1 or settings.batch < 1:
        given = f"rate {rate}, epochs {settings.epochs}, batch {settings.batch}"
        raise MertError(f"{given}: 0 < rate < 1, and 1 epoch and example at least wanted")
    device = examples.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        head = Head(examples.dim, examples.outputs, examples.num_summed, settings.hidden, settings.dropout).to(device)
        return _train(head, examples, settings, rate, np.random.default_rng(seed))


def _train(head: Head, examples: Examples, settings: HeadSettings, rate: float, order: np.random.Generator) -> TrainedHead:
    optimizer = torch.optim.Adam(head.parameters(), lr=rate, fused=True)
    plateau = ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=settings.plateau, threshold=0.0, threshold_mode="abs")
    best, kept, best_epoch = -np.inf, copy.deepcopy(head.state_dict()), 0
    for epoch in range(1, settings.epochs + 1):
        _epoch(head, optimizer, examples, settings.batch, order)
        found = examples.judge(head.eval())
        if found > best:
            best, kept, best_epoch = found, copy.deepcopy(head.state_dict()), epoch
        if not np.isfinite(found) or epoch - best_epoch >= settings.patience:
            break
        plateau.step(found)
    head.load_state_dict(kept)
    return TrainedHead(head.eval(), best, best_epoch, epoch)


def _epoch(head: nn.Module, optimizer: torch.optim.Optimizer, examples: Examples, batch: int, order: np.random.Generator) -> None:
    head.train()
    for features, targets in examples.batches(batch, order):
        optimizer.zero_grad()
        examples.loss(head(features), targets).backward()
        optimizer.step()
