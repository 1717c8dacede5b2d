"""Windows as training examples of classes, tags and values: each has its item's label, an item's score is of all its windows together."""

from typing import Dict, Iterator, Optional, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mert_fairseq.errors import MertError
from mert_fairseq.probe.decisions import DECISIONS, decisions_for
from mert_fairseq.probe.features import HeardItems
from mert_fairseq.probe.heads import FIRST_SUMMED, Head
from mert_fairseq.probe.items import SPLITS, TaskData
from mert_fairseq.probe.metrics import score
from mert_fairseq.probe.task import Task

TOGETHER = 2048  # windows that are predicted at once
MOST_LOADED = 4e9  # bytes of features that are read into memory; more are read from disk batch by batch
KINDS = ("classes", "tags", "values")


class WindowData:
    """A task's windows with their targets; `of_layer` gives what a head is trained on.

    Args:
        task: of a kind in KINDS.
        data: items; `heard.owner` counts them.
        heard: features of the windows of all items.
        device: that heads live on.
        decisions: ways in which an item is decided from its windows, of which validation chooses; None: as published.

    Raises:
        MertError: a split without items, an item without windows, or a label that does not fit the classes.
    """

    def __init__(
        self, task: Task, data: TaskData, heard: HeardItems, device: str = "cpu", decisions: Optional[Tuple[str, ...]] = None
    ):
        self.task, self.classes, self.heard, self.device = task, data.classes, heard, torch.device(device)
        self.num_layers, self.dim = heard.rows.shape[1] - 1, heard.rows.shape[2]
        self.labels, self.decisions = labels_of(task, data), decisions or decisions_for(task.metrics)
        if len(heard.owner) and heard.owner.max() >= len(data.items):
            raise MertError(f"{task.name}: features of {heard.owner.max() + 1} items for {len(data.items)}; they are of other data")
        self.items: Dict[str, np.ndarray] = {}  # [n] which items are of a split
        self.windows: Dict[str, np.ndarray] = {}  # [m] which windows are
        self.owner: Dict[str, np.ndarray] = {}  # [m] number of each window's item within the split
        for split in SPLITS:
            self._add_split(split, data)
        self.scale = self._scale()
        self.standard = self._standard() if task.head.standardized else None

    def _add_split(self, split: str, data: TaskData) -> None:
        items = np.array([place for place, item in enumerate(data.items) if item.split == split], int)
        if not len(items):
            raise MertError(f"{self.task.name}: no items in {split}; see `mert probe check {self.task.name}`")
        silent = items[np.bincount(self.heard.owner, minlength=len(data.items))[items] == 0]
        if len(silent):
            raise MertError(f"{self.task.name}: no features of {data.items[silent[0]].name} ({len(silent)} such items); extract them first")
        numbers = np.full(len(data.items), -1)
        numbers[items] = np.arange(len(items))
        self.items[split], self.windows[split] = items, np.flatnonzero(numbers[self.heard.owner] >= 0)
        self.owner[split] = numbers[self.heard.owner[self.windows[split]]]

    def of_layer(self, layer: Optional[int]) -> "WindowExamples":
        """Examples of one hidden state, 0..L, or of all layers for their sum (None)."""
        return WindowExamples(self, layer)

    def reference(self, split: str) -> np.ndarray:
        """[n, ...] labels of the split's items."""
        return self.labels[self.items[split]]

    def _scale(self) -> Tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of the training items' values: heads learn values without unit, estimates are given back in theirs."""
        if self.task.kind != "values":
            return np.zeros(1), np.ones(1)
        values = self.labels[self.items["train"]]
        deviation = values.std(0)
        if not (deviation > 0).all():
            constant = self.classes[int(deviation.argmin())]
            raise MertError(f"{self.task.name}: {constant} is the same for all training items; check the annotations")
        return values.mean(0), deviation

    def _standard(self) -> Tuple[np.ndarray, np.ndarray]:
        """Mean and deviation [L + 1, D] of the training windows' features; a constant dimension counts as of deviation 1."""
        places = self.heard.places[self.windows["train"]]
        total, squares = np.zeros((2, self.num_layers + 1, self.dim))
        for first in range(0, len(places), TOGETHER):
            rows = np.asarray(self.heard.rows[places[first : first + TOGETHER]], np.float64)
            total, squares = total + rows.sum(0), squares + np.square(rows).sum(0)
        mean = total / len(places)
        deviation = np.sqrt(np.maximum(squares / len(places) - mean**2, 0))
        return mean, np.where(deviation > 1e-6 * np.maximum(np.abs(mean), 1e-30), deviation, 1)


def labels_of(task: Task, data: TaskData) -> np.ndarray:
    """[n] class numbers, [n, C] tags or [n, R] values of all items; raises MertError for one that does not fit."""
    num_classes = len(data.classes)
    if task.kind not in KINDS:
        raise MertError(f"{task.name} is of kind {task.kind}; windows are for {', '.join(KINDS)}")
    for item in data.items:
        if task.kind == "classes":
            fits = np.ndim(item.label) == 0 and 0 <= item.label < num_classes
        else:
            fits = np.shape(item.label) == (num_classes,) and np.isfinite(item.label).all()
            fits = fits and (task.kind == "values" or np.isin(item.label, (0, 1)).all())
        if not fits:
            label = item.label if np.ndim(item.label) == 0 else f"of shape {np.shape(item.label)}"
            raise MertError(f"{task.name}: label {label} of {item.name} does not fit {num_classes} {task.kind}; check the annotations")
    kind = {"classes": np.int64, "tags": np.float32, "values": np.float64}[task.kind]
    return np.array([item.label for item in data.items], kind)


class WindowExamples:
    """See `head_training.Examples`."""

    def __init__(self, data: WindowData, layer: Optional[int]):
        if layer is not None and not 0 <= layer <= data.num_layers:
            raise MertError(f"layer {layer}: 0 to {data.num_layers} are there")
        self.data, self.layer, self.device = data, layer, data.device
        self.dim, self.outputs = data.dim, len(data.classes)
        self.num_summed = data.num_layers + 1 - FIRST_SUMMED if layer is None else None
        targets = (data.labels - data.scale[0]) / data.scale[1] if data.task.kind == "values" else data.labels
        self._targets = torch.from_numpy(targets if targets.dtype == np.int64 else targets.astype(np.float32)).to(self.device)
        num_windows = len(data.heard.places)
        wanted = 4 * num_windows * self.dim * (self.num_summed or 1)  # bytes
        self._loaded = self._read(np.arange(num_windows)) if layer is not None or wanted <= MOST_LOADED else None

    def batches(self, size: int, order: np.random.Generator) -> Iterator[Tuple[Tensor, Tensor]]:
        """(features, targets) of all training examples, in an order of their own each time."""
        windows = order.permutation(self.data.windows["train"])
        for first in range(0, len(windows), size):
            batch = windows[first : first + size]
            yield self._features(batch), self._targets[torch.from_numpy(self.data.heard.owner[batch])]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.data.task.kind == "classes":
            return functional.cross_entropy(outputs, targets)
        if self.data.task.kind == "tags":
            return functional.binary_cross_entropy_with_logits(outputs, targets)
        return functional.mse_loss(outputs, targets)

    def judge(self, head: Head) -> float:
        """What epochs are compared by, on validation; higher is better."""
        return self.validate(head)[0]

    def validate(self, head: Head) -> Tuple[float, str]:
        """The task's figure on validation, and the decision that gave it."""
        outputs = self._outputs(head, "valid")
        ways = self.data.decisions
        if not np.isfinite(outputs).all():
            return -np.inf, ways[0]
        scores = [self._score(self._decided(outputs, "valid", way)) for way in ways]
        best = int(np.argmax(scores))
        return scores[best], ways[best]

    def estimate(self, head: Head, split: str, decision: str) -> np.ndarray:
        return self._decided(self._outputs(head, split), split, decision)

    def _score(self, estimate: np.ndarray) -> float:
        return score(self.data.task.monitor, self.data.reference("valid"), estimate, self.data.classes)

    def _decided(self, outputs: np.ndarray, split: str, decision: str) -> np.ndarray:
        decided = DECISIONS[decision](outputs, self.data.owner[split], len(self.data.items[split]))
        return decided * self.data.scale[1] + self.data.scale[0]

    def _outputs(self, head: Head, split: str) -> np.ndarray:
        """[m, C] of the split's windows."""
        windows = self.data.windows[split]
        with torch.inference_mode():
            parts = [head(self._features(windows[first : first + TOGETHER])).cpu() for first in range(0, len(windows), TOGETHER)]
        return torch.cat(parts).numpy()

    def _features(self, windows: np.ndarray) -> Tensor:
        return self._read(windows) if self._loaded is None else self._loaded[torch.from_numpy(windows)]

    def _read(self, windows: np.ndarray) -> Tensor:
        """[m, D], or [m, L, D], float32."""
        rows, places = self.data.heard.rows, self.data.heard.places[windows]
        layers = slice(FIRST_SUMMED, None) if self.layer is None else self.layer
        found = rows[places, layers]
        if self.data.standard is not None:
            mean, deviation = self.data.standard
            found = (found - mean[layers]) / deviation[layers]
        return torch.from_numpy(np.asarray(found, np.float32)).to(self.device)
