"""The grid of layers and learning rates, and the choice from it by validation alone.

MARBLE (arXiv:2306.10548, appendix A) tries each hidden state and the weighted sum of all layers with six rates.
"""

import itertools
import time
from dataclasses import asdict, dataclass
from typing import Callable, List, Optional, Protocol, Sequence

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.head_training import Examples, train_head
from mert_fairseq.probe.heads import FIRST_SUMMED
from mert_fairseq.probe.kept_work import KeptWork
from mert_fairseq.probe.task import HeadSettings

RATES = (5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class GridPoint:
    """Attributes: hidden state 0..L, or None for the sum of layers; learning rate."""

    layer: Optional[int]
    rate: float

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"layer-{layer_name(self.layer)}_rate-{self.rate:g}"


@dataclass(frozen=True)
class PointScore:
    """What validation says of a grid point.

    Attributes:
        validation: the task's monitored figure; None for a head whose outputs did not stay finite.
        decision: how items were decided from windows (see `decisions`).
        epoch: the best one.
        epochs: trained.
        seconds: that it took.
    """

    layer: Optional[int]
    rate: float
    validation: Optional[float]
    decision: str
    epoch: int
    epochs: int
    seconds: float

    @property
    def point(self) -> GridPoint:
        """Where in the grid."""
        return GridPoint(self.layer, self.rate)


class Layers(Protocol):
    """A task's data, from which examples of each layer are had. Attributes: num_layers, L."""

    num_layers: int

    def of_layer(self, layer: Optional[int]) -> Examples:
        """Examples of one hidden state, or of all layers for their sum (None)."""

    def reference(self, split: str) -> np.ndarray:
        """[n, ...] of the split's items, as `metrics` wants it."""


def layer_name(layer: Optional[int]) -> str:
    """ "all" for the sum of layers."""
    return "all" if layer is None else str(layer)


def make_grid(num_layers: int, layers: Optional[Sequence[Optional[int]]] = None, rates: Sequence[float] = RATES) -> List[GridPoint]:
    """Points layer by layer; by default the sum (where there are two layers to sum) and each hidden state.

    Raises:
        MertError: a layer that is not there, no layers or no rates.
    """
    if layers is None:
        layers = [*([None] if num_layers > 1 else []), *range(num_layers + 1)]
    wrong = [layer for layer in layers if layer is not None and not 0 <= layer <= num_layers]
    if wrong or (None in layers and num_layers < 1) or not layers or not rates:
        given = ", ".join(map(layer_name, layers)) or "none"
        raise MertError(f"layers {given}, {len(rates)} rates: all, 0 to {num_layers} and one rate at least wanted")
    return [GridPoint(layer, rate) for layer in layers for rate in rates]


def layers_heard(points: Sequence[GridPoint], num_layers: int) -> List[int]:
    """Hidden states that a grid needs."""
    needed = {layer for point in points for layer in (range(FIRST_SUMMED, num_layers + 1) if point.layer is None else [point.layer])}
    return sorted(needed)


def search(
    data: Layers, points: Sequence[GridPoint], settings: HeadSettings, seed: int, work: KeptWork, progress: Optional[Progress] = None
) -> List[PointScore]:
    """Validation scores of all points, in their order; those that are kept already are not trained again.

    Other processes may work in the same folder: what one of them is at is left to it, and awaited at the end.
    """
    for wait in (False, True):
        for layer, group in itertools.groupby(points, key=lambda point: point.layer):
            missing = [point for point in group if work.read(_file(point, seed)) is None]
            examples = data.of_layer(layer) if missing else None
            for point in missing:
                with work.claimed(_file(point, seed), wait) as ours:
                    if ours and work.read(_file(point, seed)) is None:
                        work.write(_file(point, seed), asdict(_train_point(examples, point, settings, seed)))
                if progress is not None:
                    progress(sum(work.read(_file(other, seed)) is not None for other in points), len(points))
    return [work.read_as(_file(point, seed), PointScore) for point in points]


def choose(scores: Sequence[PointScore]) -> PointScore:
    """The best on validation, the first one of equals; raises MertError if no head stayed finite."""
    finite = [score for score in scores if score.validation is not None]
    if not finite:
        raise MertError(f"no head of {len(scores)} stayed finite; smaller rates are needed, or the features are not finite")
    return max(finite, key=lambda score: score.validation)


def _train_point(examples: Examples, point: GridPoint, settings: HeadSettings, seed: int) -> PointScore:
    start = time.perf_counter()
    trained = train_head(examples, settings, point.rate, seed)
    validation, decision = examples.validate(trained.head) if np.isfinite(trained.judged) else (None, "")
    seconds = round(time.perf_counter() - start, 3)
    return PointScore(point.layer, point.rate, validation, decision, trained.epoch, trained.epochs, seconds)


def _file(point: GridPoint, seed: int) -> str:
    return f"grid_{point.name}_seed-{seed}"
