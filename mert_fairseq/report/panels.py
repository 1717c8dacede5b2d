"""Diagrams of curves over updates, several to a picture."""

from dataclasses import dataclass, field
from typing import List, Sequence, Tuple

import numpy as np

from mert_fairseq.report.canvas import as_png, new_figure

SMOOTHED = 120  # points from which on a curve is drawn as its running mean over the pale curve itself
MEAN_OF = 30  # a running mean is over the curve's points / MEAN_OF
WIDTH = 13.2  # inches, of a picture
SHAPE = 1.45  # of a panel, width over height


@dataclass
class Curve:
    """One curve.

    Attributes:
        points: (updates, values).
        dashed: a secondary curve.
        marked: a dot at each point, where they are few and far apart.
    """

    label: str
    points: Tuple[Sequence[float], Sequence[float]]
    colour: str
    dashed: bool = False
    marked: bool = False

    @property
    def finite(self) -> Tuple[np.ndarray, np.ndarray]:
        """The points whose values are numbers."""
        updates, values = (np.asarray(axis, float) for axis in self.points)
        return updates[np.isfinite(values)], values[np.isfinite(values)]


@dataclass
class Level:
    """A horizontal line to hold curves against."""

    label: str
    value: float
    colour: str = "#555555"


@dataclass
class Panel:
    """One diagram; without any points it says so.

    Attributes:
        log: logarithmic values.
        from_zero: the axis begins at 0.
    """

    title: str
    curves: List[Curve]
    levels: List[Level] = field(default_factory=list)
    log: bool = False
    from_zero: bool = False
    missing: str = "not in this log"

    @property
    def drawn(self) -> List[Curve]:
        """The curves that have points."""
        return [curve for curve in self.curves if len(curve.finite[0])]


def draw_panels(panels: Sequence[Panel], columns: int = 4, shared_legend: bool = False, shape: float = SHAPE) -> bytes:
    """A PNG of all panels, row by row; each has its own legend, or the picture has one where all show the same curves.

    Args:
        shape: of a panel, width over height.
    """
    rows = -(-len(panels) // columns)
    with new_figure(WIDTH, WIDTH / columns / shape * rows + 0.3 * shared_legend) as figure:
        places = list(figure.subplots(rows, columns, squeeze=False).flat)
        for place, panel in zip(places, panels):
            _draw(place, panel, legend=not shared_legend)
        for place in places[len(panels) :]:
            place.set_axis_off()
        for place, panel in list(zip(places, panels))[-columns:]:  # those with none below
            place.set_xlabel("update" if panel.drawn else "")
        if shared_legend:
            _share_legend(figure, panels)
        return as_png(figure)


def _share_legend(figure, panels: Sequence[Panel]) -> None:
    handles = {}
    for place, panel in zip(figure.axes, panels):
        if panel.drawn:
            lines, labels = place.get_legend_handles_labels()
            handles.update(zip(labels, lines))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=max(1, min(6, len(handles))))


def _draw(axes, panel: Panel, legend: bool) -> None:
    axes.set_title(panel.title)
    if not panel.drawn:
        axes.text(0.5, 0.5, panel.missing, ha="center", va="center", transform=axes.transAxes, color="#777777")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return
    for curve in panel.drawn:
        _draw_curve(axes, curve)
    for level in panel.levels:
        axes.axhline(level.value, color=level.colour, linestyle=":", linewidth=1.3, label=level.label)
    if panel.log and any(curve.finite[1].max() > 0 for curve in panel.drawn):
        axes.set_yscale("log", nonpositive="mask")
        _label_decades(axes)
    elif panel.from_zero:
        axes.set_ylim(bottom=0)
    if legend and (len(panel.drawn) > 1 or panel.levels):
        axes.legend(loc="best")


def _label_decades(axes) -> None:
    """Plain numbers on a logarithmic axis; between the decades as well where it spans few."""
    from matplotlib.ticker import FuncFormatter

    lowest, highest = axes.get_ylim()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    steps = (2, 5) if highest / lowest < 100 else ()
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if int(f"{value:e}"[0]) in steps else ""))


def _draw_curve(axes, curve: Curve) -> None:
    updates, values = curve.finite
    style = {"color": curve.colour, "linestyle": "--" if curve.dashed else "-"}
    if len(values) >= SMOOTHED:
        axes.plot(updates, values, alpha=0.25, linewidth=0.7, color=curve.colour)
        values = running_mean(values, len(values) // MEAN_OF)
    marked = curve.marked or len(values) == 1
    axes.plot(updates, values, label=curve.label, marker="o" if marked else None, markersize=3, **style)


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over up to `width` points around each, as long as `values`; fewer at both ends."""
    half = max(0, width // 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(0, np.arange(len(values)) - half)
    stop = np.minimum(len(values), np.arange(len(values)) + half + 1)
    return (sums[stop] - sums[first]) / (stop - first)

