"""Random clips of a corpus, which teachers are fitted on."""

from typing import Protocol, Sequence

import numpy as np
import torch
from torch import Tensor

from mert_fairseq.frames import HOP


class Track(Protocol):
    """One audio file: mono float32 at 24 kHz, read by window."""

    num_samples: int

    def read(self, start: int, num_samples: int) -> np.ndarray: ...


class ClipSampler:
    """Random windows of the tracks, each second of music equally likely."""

    def __init__(self, tracks: Sequence[Track], seed: int) -> None:
        lengths = np.array([track.num_samples for track in tracks], dtype=np.float64)
        self.tracks, self.share = tracks, lengths / lengths.sum()
        self.num_frames = int(lengths.sum()) // HOP
        self.random = np.random.default_rng(seed)

    def clip(self, num_samples: int) -> np.ndarray:
        """[num_samples] float32, or a whole track that is shorter."""
        track = self.tracks[int(self.random.choice(len(self.tracks), p=self.share))]
        start = int(self.random.integers(max(0, track.num_samples - num_samples) + 1))
        return np.asarray(track.read(start, min(num_samples, track.num_samples)))

    def batch(self, size: int, num_samples: int) -> Tensor:
        """[size, num_samples]; a shorter track is filled up with zeros."""
        clips = torch.zeros(size, num_samples)
        for clip, index in zip(clips, self.random.choice(len(self.tracks), size, p=self.share)):
            track = self.tracks[index]
            start = int(self.random.integers(max(0, track.num_samples - num_samples) + 1))
            wave = torch.as_tensor(track.read(start, min(num_samples, track.num_samples)))
            clip[: wave.numel()] = wave
        return clips
