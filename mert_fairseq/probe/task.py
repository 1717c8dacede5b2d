"""One row per task: how its data is read, heard, predicted and scored. `registry.py` has the rows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

from mert_fairseq.probe.items import TaskData

#: What is predicted: one of C classes, C tags, R values, frames with beats, or spectrograms of stems.
KINDS = ("classes", "tags", "values", "beats", "stems")


@dataclass(frozen=True)
class Hearing:
    """How an item's audio is cut for the encoder: windows of one length without overlap, each averaged over time.

    Attributes:
        window_s: seconds per window; an item that is shorter is one window.
        least_s: a last window shorter than this is left out, unless it is the only one.
        first_s: seconds of an item that are heard at all; None: all.
    """

    window_s: float = 30.0
    least_s: float = 1.0
    first_s: Optional[float] = None


@dataclass(frozen=True)
class HeadSettings:
    """Training of a head (facts: Adam without weight decay, rate halved on a plateau, the best validation is tested).

    Attributes:
        epochs: at most.
        patience: epochs without a better validation until it ends.
        plateau: epochs without one until the rate is halved.
    """

    epochs: int = 100
    patience: int = 20
    plateau: int = 5
    batch: int = 64
    hidden: int = 512
    dropout: float = 0.2


@dataclass(frozen=True)
class Dataset:
    """Where a dataset comes from.

    Attributes:
        name: also the folder's usual name.
        licence, size, where: for `mert probe --list`.
        layout: the tree that is expected under --data, a few lines.
    """

    name: str
    licence: str
    size: str
    where: str
    layout: str


@dataclass(frozen=True)
class Task:
    """One of the 14.

    Attributes:
        name: as in the published tables, e.g. "GTZANBT".
        kind: one of KINDS.
        read: the dataset's folder -> items; raises MertError naming the file and what mends it.
        counts: items per split that the published protocol has.
        metrics: names of its scores, in the order of the table; the task's own score is their mean.
        monitor: the figure that validation is judged by, one of the names in metrics.py; higher is better.
        hearing: how audio is cut.
        head: how heads are trained.
        choices: points where paper and code disagree, and what is done here, one sentence each.
    """

    name: str
    title: str
    dataset: Dataset
    kind: str
    read: Callable[[Path], TaskData]
    counts: Dict[str, int]
    metrics: Tuple[str, ...]
    monitor: str
    hearing: Hearing = Hearing()
    head: HeadSettings = HeadSettings()
    choices: Tuple[str, ...] = field(default_factory=tuple)
