"""The way to matplotlib: pictures as PNG bytes, in one style, without a display."""

import contextlib
import io
from pathlib import Path
from typing import Iterator, Sequence

from mert_fairseq.data.part_files import write_whole
from mert_fairseq.errors import MertError

DPI = 110
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
}
#: Eight colours that the colour-blind can tell apart as well (Okabe and Ito), the lightest one darkened.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A00", "#000000")
MAP = "magma"


class NoMatplotlib(MertError):
    """The picture cannot be drawn here; all else can."""

    def __init__(self) -> None:
        super().__init__('no matplotlib for the picture: pip install "mert-fairseq[demo]"')


@contextlib.contextmanager
def new_figure(width: float, height: float) -> Iterator:
    """An empty figure of the given inches; the style holds within the block.

    Raises:
        NoMatplotlib: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoMatplotlib from error
    with rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def as_png(figure) -> bytes:
    """The figure as a PNG."""
    content = io.BytesIO()
    figure.savefig(content, dpi=DPI, format="png")
    return content.getvalue()


def write_png(content: bytes, path: Path, option: str) -> None:
    """Raises MertError if the file cannot be written; `option` is where the command line names another place."""
    write_whole(path, content, f"name another place with {option}")


def colour(number: int, of: int) -> str:
    """The colour of one of several curves; of more than there are colours, by a map from dark to light."""
    if of <= len(COLOURS):
        return COLOURS[number]
    from matplotlib import colormaps, colors

    return colors.to_hex(colormaps["viridis"](0.92 * number / (of - 1)))


def label_octaves(axes, frequencies: Sequence[float]) -> None:
    """Names the Cs on a vertical axis of CQT bins with the given centres in Hz."""
    per_octave = sum(1 for frequency in frequencies if frequency < 1.999 * frequencies[0])
    bins = range(0, len(frequencies), per_octave)
    axes.set_yticks(list(bins), [f"{frequencies[place]:,.0f}" for place in bins])
