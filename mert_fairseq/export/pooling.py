"""One file's features, filled window by window."""

from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from mert_fairseq.export.windows import Window

POOLS = ("mean", "window", "frames")
Allocate = Callable[[Tuple[int, ...]], np.ndarray]


class PooledFeatures:
    """Array [L + 1, D] ("mean" over the file), [L + 1, N, D] ("window": a mean each) or [L + 1, T, D] ("frames").

    Args:
        plan: the file's N windows.
        num_states: L + 1.
        dim: D.
        layer: the only one wanted, without the first axis then; None: all.
        allocate: makes the array for a shape.
    """

    def __init__(self, plan: Sequence[Window], num_states: int, dim: int, pool: str, layer: Optional[int], allocate: Allocate):
        self.pool, self._layers = pool, range(num_states) if layer is None else [layer]
        self._num_frames, self._windows_left = sum(window.num_frames for window in plan), len(plan)
        along = {"mean": (), "window": (len(plan),), "frames": (self._num_frames,)}[pool]
        self.array = allocate((*(() if layer is not None else (num_states,)), *along, dim))
        self._rows = self.array if layer is None else self.array[None]
        self._filled, self._sum = 0, np.zeros((len(self._layers), dim)) if pool == "mean" else None

    @property
    def features(self) -> np.ndarray:
        """The array; of frames those that there are: an encoder of a lower frame rate gives fewer than are planned."""
        return self.array[..., : self._filled, :] if self.pool == "frames" and self._filled < self._num_frames else self.array

    @property
    def complete(self) -> bool:
        """Whether all windows were added."""
        return not self._windows_left

    def add(self, window: Window, states: List[Tensor]) -> None:
        """Hidden states [T, D] of all layers for the next window."""
        own = [states[layer][window.skip : window.skip + window.num_frames] for layer in self._layers]
        self._windows_left -= 1
        if self.pool == "mean":  # in float64, so that the mean of an hour is as exact as that of a second
            self._sum += torch.stack([frames.sum(0, dtype=torch.float64) for frames in own]).cpu().numpy()
            if self.complete:
                self._rows[...] = self._sum / self._num_frames
        elif self.pool == "window":
            self._put(torch.stack([frames.mean(0, keepdim=True) for frames in own]))
        else:
            self._put(torch.stack(own))

    def _put(self, values: Tensor) -> None:
        """[L + 1, n, D] behind what is there."""
        self._rows[:, self._filled : self._filled + values.size(1)] = values.cpu().numpy()
        self._filled += values.size(1)
