"""Networks of all stems, trained side by side: each mix is heard once for all of them."""

import logging
import time
from typing import Callable, Dict, List, Sequence

import numpy as np
import torch
from torch import Tensor

from mert_fairseq.probe.separation.inference import song_masks, split
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.mixes import RandomMixes, read_batches
from mert_fairseq.probe.separation.run_folder import RunFolder
from mert_fairseq.probe.separation.scoring import global_sdr
from mert_fairseq.probe.separation.settings import STEMS, SeparationSettings
from mert_fairseq.probe.separation.spectrogram import mono_magnitude
from mert_fairseq.probe.separation.stem_training import StemTraining
from mert_fairseq.probe.separation.tracks import Track, read_song

logger = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]  # what, how many are done, of how many


class Training:
    """A run's training, from where its folder says it stands to the end.

    Attributes:
        stems: one for each target.
        epoch: that is next.
    """

    def __init__(self, listener: Listener, settings: SeparationSettings, folder: RunFolder, splits: Dict[str, Sequence[Track]]):
        self._listener, self._settings, self._folder, self._splits = listener, settings, folder, splits
        self.stems = [StemTraining(stem, listener, settings) for stem in settings.targets]
        self.epoch, self._batch = folder.load_training(self.stems)
        self._saved = time.monotonic()

    @property
    def active(self) -> List[StemTraining]:
        """Stems whose training has not ended."""
        return [stem for stem in self.stems if not stem.done]

    def run(self, progress: Progress) -> None:
        """Trains until every stem has ended; each epoch's validation SDR is logged."""
        while self.active:
            self._train_epoch(progress)
            self._validate(progress)
            self.epoch, self._batch = self.epoch + 1, 0
            self._save()

    def _train_epoch(self, progress: Progress) -> None:
        mixes = RandomMixes(self._splits["train"], self._settings, 0 if self._settings.stored_mixes else self.epoch)
        order = mixes.batches(self._settings.batch, self.epoch)
        for number, waves in enumerate(read_batches(mixes, order[self._batch :], self._settings.workers), self._batch):
            self._update(waves, order[number], self.epoch * len(order) + number)
            self._batch = number + 1
            progress(f"epoch {self.epoch + 1}", self._batch, len(order))
            if time.monotonic() - self._saved >= self._settings.save_every_s:
                self._save()

    def _update(self, waves: Tensor, numbers: np.ndarray, update: int) -> None:
        """Args: waves [B, 4, 2, S] of the stems."""
        waves = waves.to(self._listener.encoder.device)
        mixture = waves.sum(1)
        features = self._listener.chunks(mixture.mean(1), numbers)
        magnitude = mono_magnitude(mixture)
        for stem in self.active:
            stem.update(features, magnitude, mono_magnitude(waves[:, STEMS.index(stem.stem)]), update)

    def _validate(self, progress: Progress) -> None:
        """Judges each stem by its mean SDR over the validation songs, with the mixture's phase."""
        active, tracks = self.active, self._splits["valid"]
        networks = {stem.stem: stem.network for stem in active}
        found: Dict[str, List[float]] = {stem: [] for stem in networks}
        for done, track in enumerate(tracks, 1):
            mixture, *references = read_song(track, ["mixture", *networks])
            masks = song_masks(networks, self._listener, mixture, track.name)
            estimates = split(masks, mixture, "none")
            for stem, reference in zip(networks, references):
                found[stem].append(global_sdr(reference, estimates[stem]))
            progress(f"validation {self.epoch + 1}", done, len(tracks))
        for stem in active:
            sdr = float(np.mean(found[stem.stem]))
            if stem.judge(sdr, self.epoch):
                self._folder.save_network(stem)
            logger.info(f"separation, {stem.stem}, epoch {self.epoch + 1}: {sdr:.2f} dB, best {stem.best_sdr:.2f} dB")

    def _save(self) -> None:
        self._folder.save_training(self.stems, self.epoch, self._batch)
        self._saved = time.monotonic()

    def best_networks(self) -> Dict[str, torch.nn.Module]:
        """The networks of the best epochs, by stem."""
        for stem in self.stems:
            self._folder.load_network(stem)
        return {stem.stem: stem.network for stem in self.stems}
