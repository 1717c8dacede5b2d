"""Random mixes: stems of different tracks, at random places, loudness and sides (Uhlich et al. 2017, as Open-Unmix and MARBLE do).

Every mix follows from seed, epoch and its number alone.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, List, Sequence

import numpy as np
import torch
from torch import Tensor

from mert_fairseq.probe.separation.settings import STEMS, SeparationSettings
from mert_fairseq.probe.separation.tracks import Track, check_lengths, to_24k

LEAST_GAIN, MOST_GAIN = 0.25, 1.25  # Open-Unmix, MARBLE's code
SWAP_PROB = 0.5  # of left and right; Open-Unmix
NATIVE_HOP = 588  # samples at 44.1 kHz of one hop of 320 at 24 kHz
_PAIRING, _CUTTING, _ORDER = range(3)  # streams of random numbers


class RandomMixes:
    """The mixes of one epoch.

    Each stem takes `samples_per_track` windows of every track; the four stems of a mix are of four different tracks where there are
    as many. So one set of mixes serves the networks of all stems.

    Raises:
        MertError: a track is shorter than a mix.
    """

    def __init__(self, tracks: Sequence[Track], settings: SeparationSettings, epoch: int):
        self._tracks, self._seed, self._epoch = tracks, settings.seed, epoch
        self._num_samples = settings.chunk_frames * NATIVE_HOP
        check_lengths(tracks, self._num_samples)
        self.choice = np.concatenate([self._pair(repeat) for repeat in range(settings.samples_per_track)])

    def __len__(self) -> int:
        return len(self.choice)

    def _pair(self, repeat: int) -> np.ndarray:
        """[tracks, 4] number of the track that each stem is of; each column has every track once."""
        random, count = np.random.default_rng([self._seed, _PAIRING, self._epoch, repeat]), len(self._tracks)
        order = random.permutation(count)
        shifts = random.choice(count, len(STEMS), replace=count < len(STEMS))
        return order[(np.arange(count)[:, None] + shifts) % count]

    def mix(self, index: int) -> Tensor:
        """The four stems of a mix, [4, 2, S] at 24 kHz; their sum is the mixture."""
        random = np.random.default_rng([self._seed, _CUTTING, self._epoch, index])
        stems = np.stack([self._cut(stem, track, random) for stem, track in zip(STEMS, self.choice[index])])
        return to_24k(stems)

    def _cut(self, stem: str, number: int, random: np.random.Generator) -> np.ndarray:
        track = self._tracks[number]
        start = int(random.integers(track.num_samples - self._num_samples + 1))
        gain, swap = random.uniform(LEAST_GAIN, MOST_GAIN), random.random() < SWAP_PROB
        wave = np.broadcast_to(track.read([stem], start, self._num_samples)[0], (2, self._num_samples))
        return np.float32(gain) * (wave[::-1] if swap else wave)

    def batches(self, size: int, epoch: int) -> List[np.ndarray]:
        """Numbers of the mixes of each update, in an order of that epoch."""
        order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self))
        return [order[first : first + size] for first in range(0, len(order), size)]


def read_batches(mixes: RandomMixes, order: Sequence[np.ndarray], workers: int) -> Iterator[Tensor]:
    """[B, 4, 2, S] of each batch; the next one is read, in threads, while one is used."""
    pool = ThreadPoolExecutor(workers)
    try:
        coming = [pool.submit(mixes.mix, int(index)) for index in order[0]] if len(order) else []
        for following in [*order[1:], []]:
            ready, coming = coming, [pool.submit(mixes.mix, int(index)) for index in following]
            if ready:
                yield torch.stack([mix.result() for mix in ready])
    finally:
        pool.shutdown(cancel_futures=True)
