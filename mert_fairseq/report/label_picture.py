"""One picture of the target stores: how evenly the entries of each codebook are used, and the mean spectrum of the CQT."""

import math
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.report.canvas import NoMatplotlib
from mert_fairseq.report.label_stats import CodebookStats, StoreStats

COLOURS = "viridis"  # first codebook dark, last one light
WARNING_COLOUR = "tab:red"
MAX_LEGEND = 16  # codebooks named one by one


def draw(stores: Sequence[StoreStats], path: Path) -> None:
    """Writes a PNG: a row for each store's name, its splits side by side.

    Raises:
        NoMatplotlib: matplotlib is not installed.
        MertError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoMatplotlib from error
    named = _by_name(stores)
    columns = max(len(row) for row in named.values())
    figure = Figure(figsize=(0.6 + 8.4 * columns, 0.5 + 3.6 * len(named)), layout="constrained")
    for places, row in zip(figure.subfigures(len(named), columns, squeeze=False), named.values()):
        drawn = [_draw_store(place, stats) for place, stats in zip(places, row)]
        for alike in zip(*(axes for axes in drawn if axes)):
            _share_heights(alike)
    try:
        figure.savefig(path, dpi=100, format="png")
    except OSError as error:
        raise MertError(f"{path}: the picture cannot be written ({error.strerror}); name another place with --picture") from error


def _by_name(stores: Sequence[StoreStats]) -> Dict[str, List[StoreStats]]:
    """Stores of one name together, train before the others."""
    named: Dict[str, List[StoreStats]] = {}
    for stats in sorted(stores, key=lambda stats: (stats.split != "train", stats.split)):
        named.setdefault(stats.name, []).append(stats)
    return dict(sorted(named.items(), key=lambda item: (item[1][0].info.kind != "codes", item[0])))


def _draw_store(place, stats: StoreStats) -> List:
    """The axes drawn."""
    title = f"{stats.folder.name}: {stats.info.kind} by {stats.info.teacher}, {stats.hours:.2f} h"
    place.suptitle(title, fontsize="medium", fontweight="bold")
    if stats.num_read == 0:
        place.text(0.5, 0.5, "no frames", ha="center")
        return []
    if stats.spectrum is not None:
        axes = [place.subplots()]
        _draw_spectrum(axes[0], stats)
    else:
        axes = list(place.subplots(1, 2))
        _draw_perplexity(axes[0], stats)
        _draw_usage(axes[1], stats)
    return axes


def _share_heights(alike: Sequence) -> None:
    """The same heights for axes that stand for the same thing, so that splits can be compared by eye."""
    lows, highs = zip(*(axes.get_ylim() for axes in alike))
    for axes in alike:
        axes.set_ylim(min(lows), max(highs))


def _colours(number: int) -> np.ndarray:
    from matplotlib import colormaps

    return colormaps[COLOURS](np.linspace(0, 0.92, number))


def _draw_perplexity(axes, stats: StoreStats) -> None:
    """Bars in the colours of the curves beside them; a step above each shows its number of entries."""
    numbers = np.arange(len(stats.codebooks))
    heights = [codebook.perplexity for codebook in stats.codebooks]
    entries = [len(codebook.counts) for codebook in stats.codebooks]
    bars = axes.bar(numbers, heights, width=0.8, color=_colours(len(numbers)))
    axes.hlines(entries, numbers - 0.45, numbers + 0.45, color="black", linewidth=1.2, label="entries")
    for bar, codebook in zip(bars, stats.codebooks):
        if codebook.collapsed:
            bar.set(edgecolor=WARNING_COLOUR, linewidth=2)
    if any(codebook.collapsed for codebook in stats.codebooks):
        axes.plot([], [], color=WARNING_COLOUR, linewidth=2, label="collapsed?")
    if len(numbers) <= MAX_LEGEND:
        axes.set_xticks(numbers)
        for number, codebook in enumerate(stats.codebooks):
            _write_perplexity(axes, number, codebook)
    axes.set(xlabel="codebook", title="perplexity", ylim=(0, 1.22 * max(entries)), xlim=(-0.6, len(numbers) - 0.4))
    axes.title.set_fontsize("medium")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize="small", loc="upper right", ncols=2)


def _write_perplexity(axes, number: int, codebook: CodebookStats) -> None:
    """The figure above its bar, or inside where the line of the entries is near."""
    inside = codebook.perplexity > 0.85 * len(codebook.counts)
    axes.annotate(
        f"{codebook.perplexity:.0f}",
        (number, codebook.perplexity),
        xytext=(0, -4 if inside else 3),
        textcoords="offset points",
        ha="center",
        va="top" if inside else "bottom",
        fontsize="small",
        color=WARNING_COLOUR if codebook.collapsed else "black",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if inside else None,
    )


def _draw_usage(axes, stats: StoreStats) -> None:
    """Share of frames against rank; where a curve ends, the dead entries begin. Dotted: all entries used alike."""
    lowest, highest = 1.0, 0.0
    for number, (codebook, colour) in enumerate(zip(stats.codebooks, _colours(len(stats.codebooks)))):
        counts = np.sort(codebook.counts)[::-1]
        shares = counts[: codebook.num_used] / counts.sum()
        lowest, highest = min(lowest, shares[-1]), max(highest, shares[0])
        axes.loglog(
            np.arange(1, len(shares) + 1), shares, color=colour, linewidth=1.4, marker="o" if len(shares) == 1 else "", label=number
        )
    sizes = sorted({len(codebook.counts) for codebook in stats.codebooks})
    for entries in sizes:
        axes.plot([1, entries], [1 / entries] * 2, color="black", linestyle=":", linewidth=1)
        axes.plot(entries, 1 / entries, color="black", marker="|", markersize=10)
    axes.annotate("all alike", (1, 1 / sizes[-1]), xytext=(2, -3), textcoords="offset points", va="top", fontsize="x-small")
    highest = min(1.5, 10.0 ** math.ceil(math.log10(highest) + 0.1))
    decades = (10.0 ** math.floor(math.log10(min(lowest, 1 / sizes[-1]))), highest)
    axes.set(xlabel="entries, most used first", title="share of frames", ylim=decades)
    axes.title.set_fontsize("medium")
    axes.grid(alpha=0.3)
    if len(stats.codebooks) <= MAX_LEGEND:
        axes.legend(title="codebook", title_fontsize="small", fontsize="x-small", ncols=2, loc="lower left")


def _draw_spectrum(axes, stats: StoreStats) -> None:
    spectrum, bins = stats.spectrum, np.arange(len(stats.spectrum.sums))
    axes.fill_between(bins, spectrum.maxima, color="tab:blue", alpha=0.15, linewidth=0, label="largest")
    axes.plot(bins, spectrum.sums / stats.num_read, color="tab:blue", label="mean")
    if spectrum.maxima.max() > 0:
        axes.set_yscale("log")
    axes.set(xlabel="bin", title="magnitude", xlim=(0, max(1, len(bins) - 1)))
    axes.title.set_fontsize("medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
