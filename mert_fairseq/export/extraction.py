"""Features of audio: hidden states of each window, as they are or averaged over time.

    model = load_model("runs/mert_base/checkpoints/checkpoint_last.pt")
    layers = extract(model, "song.flac")                          # [L + 1, D], means over the whole file
    frames = extract(model, "song.flac", layer=7, pool="frames")  # [T, D], 75 frames per second
"""

import functools
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, Iterator, Optional, Tuple, Union

import numpy as np
import torch

from mert_fairseq.errors import MertError
from mert_fairseq.export.audio_pieces import Audio, ahead, batches, heard_windows
from mert_fairseq.export.encoder import Encoder
from mert_fairseq.export.pooling import POOLS, PooledFeatures
from mert_fairseq.export.windows import window_frames


@dataclass(frozen=True)
class FeatureSettings:
    """What is wanted of each file.

    Attributes:
        layer: 0 (the transformer's input) .. L; None: all of them, laid along the first axis.
        pool: "mean" over the file, "window": a mean per window, "frames": all frames.
        window_s: seconds heard at a time.
        batch: windows computed together; on a GPU 8 or more, on a CPU more is no quicker.
    """

    layer: Optional[int] = None
    pool: str = "mean"
    window_s: float = 30.0
    batch: int = 1

    def check(self, model: Encoder) -> None:
        """Raises MertError for a value that is not allowed."""
        if self.pool not in POOLS:
            raise MertError(f"pool {self.pool!r}: one of {', '.join(POOLS)} wanted")
        if self.layer is not None and not 0 <= self.layer <= model.num_layers:
            raise MertError(f"layer {self.layer}: {model.name} has 0 (the transformer's input) to {model.num_layers}")
        if self.batch < 1:
            raise MertError(f"batch {self.batch}: at least 1 wanted")
        window_frames(self.window_s)


def extract(model: Encoder, audio: Audio, **settings) -> np.ndarray:
    """Features of one file, or of a wave [S] at 24 kHz: float32, [L + 1, D], per window [L + 1, N, D] or per frame [L + 1, T, D].

    Args:
        settings: those of `FeatureSettings`; with layer=N the first axis is left out.

    Raises:
        MertError: the file cannot be read, or is too short for one frame.
    """
    ((_, found),) = extract_all(model, [audio], FeatureSettings(**settings), lambda _, shape: np.empty(shape, np.float32))
    if isinstance(found, MertError):
        raise found
    return found


def extract_all(
    model: Encoder, audios: Iterable[Audio], settings: FeatureSettings, allocate: Callable[[int, Tuple[int, ...]], np.ndarray]
) -> Iterator[Tuple[int, Union[np.ndarray, MertError]]]:
    """(number of the file, its features or why there are none), as they are ready.

    Args:
        allocate: makes the array of a file, given its number and the array's shape; on disk, say.
    """
    settings.check(model)
    frames = window_frames(settings.window_s)
    files: Dict[int, PooledFeatures] = {}
    for items in batches(ahead(heard_windows(audios, frames, model.shortest)), settings.batch):
        if items[0].error:
            files.pop(items[0].index, None)
            yield items[0].index, items[0].error
            continue
        with torch.inference_mode():
            states = model.hidden_states(torch.from_numpy(np.stack([item.wave for item in items])), settings.layer)
        for place, item in enumerate(items):
            if item.index not in files:
                make = functools.partial(allocate, item.index)
                files[item.index] = PooledFeatures(item.plan, model.num_layers + 1, model.dim, settings.pool, settings.layer, make)
            files[item.index].add(item.window, [state[place] for state in states])
            if files[item.index].complete:
                yield item.index, files.pop(item.index).features
