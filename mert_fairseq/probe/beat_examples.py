"""Frames as training examples of beats: one output per frame, decoded by the beat tracker, counted over all recordings together.

Epochs are compared by the average precision of validation frames, which takes a moment; heads by the pooled F-measure of tracked beats,
which is what is tested. (MARBLE v1 tracks after each epoch.)
"""

from dataclasses import dataclass, field
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mert_fairseq.errors import MertError
from mert_fairseq.probe.beat_scoring import TARGETS, TOLERANCE_S, beat_targets, count_beats
from mert_fairseq.probe.beat_tracking import BeatTracker
from mert_fairseq.probe.heads import FIRST_SUMMED, Head
from mert_fairseq.probe.items import SPLITS, BeatTimes, TaskData
from mert_fairseq.probe.metrics import score, scoring_libraries
from mert_fairseq.probe.stored_frames import StoredFrames
from mert_fairseq.probe.task import Task

DECISION = "tracked"
POSITIVE = 0.9  # targets from here on are beats where frames are judged
FRAMES_TOGETHER = 16_384


@dataclass(frozen=True)
class BeatSettings:
    """How beats are learned and counted.

    Attributes:
        targets: of a beat's frame and of those around it, a name of `beat_scoring.TARGETS`.
        tolerance_s: seconds between a beat and what counts for it; 0.07 is MARBLE's code, 0.02 its paper's table 1.
        crop_s: seconds of a recording per epoch, at a random place (MARBLE v1).
        frames_per_crop: of these, drawn at random; the published code takes all 750, which are much alike and take five times as long.
        judged_every: validation frames that epochs are compared by, one in so many.
        tracker: its tempo range and weights.
    """

    targets: str = "hard"
    tolerance_s: float = TOLERANCE_S
    crop_s: float = 10.0
    frames_per_crop: int = 150
    judged_every: int = 10
    tracker: BeatTracker = field(default_factory=BeatTracker)


class BeatData:
    """Recordings with beats; `of_layer` gives what a head is trained on.

    Args:
        frames: one per item.
        settings: `tracker.frame_rate` is that of the frames.

    Raises:
        MertError: a split without items, or features that do not fit the items.
    """

    def __init__(
        self, task: Task, data: TaskData, frames: Sequence[StoredFrames], settings: BeatSettings = BeatSettings(), device: str = "cpu"
    ):
        if len(frames) != len(data.items):
            raise MertError(f"{task.name}: features of {len(frames)} recordings for {len(data.items)} items")
        self.task, self.frames, self.settings, self.device = task, frames, settings, torch.device(device)
        self.items = {split: [place for place, item in enumerate(data.items) if item.split == split] for split in SPLITS}
        for split, places in self.items.items():
            if not places:
                raise MertError(f"{task.name}: no items in {split}; see `mert probe check {task.name}`")
        self.num_layers, self.dim = frames[0].num_layers, frames[0].dim
        self.beats = [self._beats(item, own.num_frames) for item, own in zip(data.items, frames)]
        rate, neighbours = settings.tracker.frame_rate, TARGETS[settings.targets]
        self.targets = [beat_targets(beats, own.num_frames, rate, neighbours) for beats, own in zip(self.beats, frames)]

    def of_layer(self, layer: Optional[int]) -> "BeatExamples":
        """Examples of one hidden state, 0..L, or of all layers for their sum (None)."""
        return BeatExamples(self, layer)

    def reference(self, split: str) -> np.ndarray:
        """[n] beats of the split's recordings."""
        return np.array([len(self.beats[place]) for place in self.items[split]])

    def _beats(self, item, num_frames: int) -> np.ndarray:
        """Seconds of the beats that were heard, from the first frame."""
        if not isinstance(item.label, BeatTimes):
            raise MertError(f"{self.task.name}: label of {item.name} holds no beat times; check the annotations")
        beats = np.asarray(item.label.beats, float) - item.start_s
        return beats[(beats >= 0) & (beats < num_frames / self.settings.tracker.frame_rate)]


class BeatExamples:
    """See `head_training.Examples`; an example is a recording."""

    def __init__(self, data: BeatData, layer: Optional[int]):
        if layer is not None and not 0 <= layer <= data.num_layers:
            raise MertError(f"layer {layer}: 0 to {data.num_layers} are there")
        self.data, self.layer, self.device, self.dim, self.outputs = data, layer, data.device, data.dim, 1
        self.num_summed = data.num_layers + 1 - FIRST_SUMMED if layer is None else None
        # One layer of all recordings is read once, into memory as it is stored; of all layers only what is asked for.
        self._frames = list(data.frames)
        if layer is not None:
            for place in data.items["train"] + data.items["valid"]:
                self._frames[place] = data.frames[place].loaded(layer)

    def batches(self, size: int, order: np.random.Generator) -> Iterator[Tuple[Tensor, Tensor]]:
        """(features, targets) of all training examples, in an order of their own each time."""
        places = order.permutation(self.data.items["train"])
        for first in range(0, len(places), size):
            drawn = [(place, self._draw(len(self.data.targets[place]), order)) for place in places[first : first + size]]
            features = torch.cat([self._features(place, frames) for place, frames in drawn])
            targets = np.concatenate([self.data.targets[place][frames] for place, frames in drawn])
            yield features.to(self.device), torch.from_numpy(targets).to(self.device)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs[..., 0], targets)

    def judge(self, head: Head) -> float:
        """What epochs are compared by, on validation; higher is better."""
        every = self.data.settings.judged_every
        places = self.data.items["valid"]
        outputs = self._outputs(head, [(place, np.arange(0, len(self.data.targets[place]), every)) for place in places])
        positive = np.concatenate([self.data.targets[place][::every] for place in places]) >= POSITIVE
        if not positive.any():
            raise MertError(f"{self.data.task.name}: no beats in the validation recordings; check the annotations")
        found = np.concatenate(outputs)
        return float(scoring_libraries()[1].average_precision_score(positive, found)) if np.isfinite(found).all() else -np.inf

    def validate(self, head: Head) -> Tuple[float, str]:
        """The task's figure on validation, and the decision that gave it."""
        return score(self.data.task.monitor, self.data.reference("valid"), self.estimate(head, "valid", DECISION), ()), DECISION

    def estimate(self, head: Head, split: str, decision: str) -> np.ndarray:
        """[n, 2] beats matched and estimated."""
        places, settings = self.data.items[split], self.data.settings
        outputs = self._outputs(head, [(place, np.arange(len(self.data.targets[place]))) for place in places])
        found = settings.tracker.track([torch.from_numpy(logits).sigmoid().numpy() for logits in outputs])
        counts = [count_beats(self.data.beats[place], beats, settings.tolerance_s) for place, beats in zip(places, found)]
        return np.array(counts)[:, :2]

    def _draw(self, num_frames: int, order: np.random.Generator) -> np.ndarray:
        """Frames of one crop at a random place."""
        settings = self.data.settings
        crop = min(num_frames, round(settings.crop_s * settings.tracker.frame_rate))
        start = int(order.integers(num_frames - crop + 1))
        return start + np.sort(order.choice(crop, min(crop, settings.frames_per_crop), replace=False))

    def _outputs(self, head: Head, wanted: List[Tuple[int, np.ndarray]]) -> List[np.ndarray]:
        """[t] logits of each recording's frames."""
        found = []
        with torch.inference_mode():
            for place, frames in wanted:
                parts = [frames[first : first + FRAMES_TOGETHER] for first in range(0, len(frames), FRAMES_TOGETHER)]
                outputs = [head(self._features(place, part).to(self.device))[..., 0].cpu() for part in parts]
                found.append(torch.cat(outputs).double().numpy())
        return found

    def _features(self, place: int, frames: np.ndarray) -> Tensor:
        """[t, D], or [t, L, D], float32."""
        own = self._frames[place]
        if self.layer is not None:
            return torch.from_numpy(own.layer(self.layer, frames))
        return torch.from_numpy(own.layers(range(FIRST_SUMMED, self.data.num_layers + 1), frames))
