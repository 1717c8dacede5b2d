"""One stem's network on its way: updates, and what validation says of it.

Its numbers follow from the seed and the stem; training other stems beside it changes nothing.
"""

import math
from contextlib import contextmanager
from typing import Any, Dict, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mert_fairseq.errors import MertError
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.network import SeparationNetwork
from mert_fairseq.probe.separation.settings import STEMS, SeparationSettings

FACTOR = 0.5  # of the rate on a plateau; MARBLE's code
LEAST_GAIN_DB = 1e-4  # of a better validation


class StemTraining:
    """A network with its optimizer.

    Attributes:
        network: as it is now.
        best_sdr, best_epoch: of validation so far; -inf and -1 before the first.
        done: whether its training has ended.
    """

    def __init__(self, stem: str, listener: Listener, settings: SeparationSettings):
        self.stem, self._settings, self._device = stem, settings, listener.encoder.device
        with self._seeded(0):
            self.network = SeparationNetwork(listener.num_layers, listener.encoder.dim, settings).to(self._device)
        self._optimizer = Adam(self.network.parameters(), settings.lr)
        self._plateau = ReduceLROnPlateau(
            self._optimizer, "max", factor=FACTOR, patience=settings.plateau, threshold=LEAST_GAIN_DB, threshold_mode="abs"
        )
        self.best_sdr, self.best_epoch, self.done = -math.inf, -1, False

    def update(self, features: Tensor, mixture: Tensor, reference: Tensor, number: int) -> float:
        """One step; returns the mean squared error of magnitudes before it.

        Args:
            features: [N, B, T, D]; mixture, reference: magnitudes [B, T, 1025].
            number: of the update since the beginning; dropout follows from it.

        Raises:
            MertError: the loss is no number.
        """
        self.network.train()
        with self._seeded(1 + number):
            loss = mse_loss(self.network(features, mixture), reference)
        if not torch.isfinite(loss):
            raise MertError(f"{self.stem}: the loss of update {number} is {loss.item()}; take a lower lr than {self._settings.lr}")
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def judge(self, sdr: float, epoch: int) -> bool:
        """Takes note of an epoch's validation SDR; returns whether it is the best one."""
        better = sdr > self.best_sdr + LEAST_GAIN_DB
        if better:
            self.best_sdr, self.best_epoch = sdr, epoch
        self._plateau.step(sdr)
        self.done = epoch - self.best_epoch >= self._settings.patience or epoch + 1 >= self._settings.epochs
        return better

    def state(self) -> Dict[str, Any]:
        """All that a later `restore` needs to go on exactly."""
        parts = {"network": self.network, "optimizer": self._optimizer, "plateau": self._plateau}
        own = {"best_sdr": self.best_sdr, "best_epoch": self.best_epoch, "done": self.done}
        return {name: part.state_dict() for name, part in parts.items()} | own

    def restore(self, state: Dict[str, Any]) -> None:
        """Goes back to what `state` gave."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._plateau.load_state_dict(state["plateau"])
        self.best_sdr, self.best_epoch, self.done = state["best_sdr"], state["best_epoch"], state["done"]

    @contextmanager
    def _seeded(self, step: int) -> Iterator[None]:
        """Random numbers of this stem and step, on all devices; those of others are left as they are."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            sequence = np.random.SeedSequence([self._settings.seed, STEMS.index(self.stem), step])
            torch.manual_seed(int(sequence.generate_state(1)[0]))
            yield
