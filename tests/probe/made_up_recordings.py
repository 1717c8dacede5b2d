"""Made-up recordings, an encoder whose hidden states are known, and its frames of them as they are kept."""

import numpy as np
import soundfile
import torch

from mert_fairseq.probe.frame_features import hear_frames, recordings_of
from mert_fairseq.probe.items import Item
from mert_fairseq.probe.task import Hearing

RATE = 24_000
WHOLE = Hearing(window_s=31)


class Ramp:
    """Hidden state l of a frame: the mean of its samples times l + 1, and 1; notes what it heard and up to which layer."""

    name, num_layers, dim, weights_hash, device = "ramp", 2, 2, "ab" * 32, torch.device("cpu")

    def __init__(self, hop=320):
        self.hop, self.shortest, self.frame_rate, self.heard = hop, hop, RATE / hop, []

    def hidden_states(self, wave, last=None):
        self.heard.append((wave.size(1), last))
        means = wave[:, : wave.size(1) // self.hop * self.hop].unflatten(1, (-1, self.hop)).mean(-1)
        return [torch.stack([means * (layer + 1), torch.ones_like(means)], -1) for layer in range(self.num_layers + 1)]


def write_recordings(folder):
    """Two, of 3 and 1.3 seconds, as items."""
    for number, seconds in enumerate((3.0, 1.3)):
        soundfile.write(folder / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(round(seconds * RATE)), RATE)
    return [Item(str(number), folder / f"{number}.wav", "train", 0) for number in range(2)]


def hear(encoder, items, cache, layers=(0, 1, 2), hearing=WHOLE, progress=None):
    recordings = recordings_of(encoder, items, hearing, layers, cache, items[0].path.parent)
    return hear_frames(encoder, recordings, hearing, cache, progress=progress)


def all_of(frames, layer):
    return frames.layer(layer, np.arange(frames.num_frames))
