"""What a dataset's reader gives: labelled stretches of audio, each in one split."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Tuple, Union

import numpy as np

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class BeatTimes:
    """Seconds of a recording's beats, and of those that begin a bar."""

    beats: np.ndarray
    downbeats: np.ndarray


@dataclass(frozen=True)
class StemFiles:
    """A mixture and its four sources; five times the same file where one holds them all (.stem.mp4)."""

    mixture: Path
    vocals: Path
    drums: Path
    bass: Path
    other: Path


Label = Union[int, np.ndarray, BeatTimes, StemFiles]


@dataclass(frozen=True)
class Item:
    """One recording, or part of one, and what is to be predicted of it. Scores are taken over items.

    Attributes:
        name: unique within a task, and the same on every machine: the path below the data folder, or the dataset's own number.
        path: of the audio file; for stems the song's folder, or its .stem.mp4.
        split: "train", "valid" or "test".
        label: class number; [C] of 0 and 1 for tags; [R] float values; beat times; or the files of stems.
        start_s, stop_s: the part that is meant; None: to the end.
        recording: name of what several items are parts of, which are drawn together for intervals; None: no other item is of it.
    """

    name: str
    path: Path
    split: str
    label: Label
    start_s: float = 0.0
    stop_s: Optional[float] = None
    recording: Optional[str] = None


@dataclass(frozen=True)
class TaskData:
    """A task's items as read from the dataset's files.

    Attributes:
        classes: names of classes, tags or values, in the order of the head's outputs.
        dropped: what the dataset lists and the published protocol leaves out, each with the reason.
        annotations: files that the labels were read from; their hash goes into results.
    """

    items: List[Item]
    classes: Tuple[str, ...]
    dropped: List[str] = field(default_factory=list)
    annotations: List[Path] = field(default_factory=list)

    def of(self, split: str) -> List[Item]:
        """Items of one split, in order."""
        return [item for item in self.items if item.split == split]
