"""Pictures of held-out clips: a spectrum as it is, masked and predicted; how often each code is used by teacher and model."""

from typing import Sequence

import numpy as np

from mert_fairseq.frames import HOP, SAMPLE_RATE
from mert_fairseq.report.canvas import COLOURS, MAP, as_png, label_octaves, new_figure
from mert_fairseq.report.held_out import HeldOutClip, Predictions
from mert_fairseq.report.label_stats import CodebookStats

HIDDEN = "#9aa0a6"  # of masked frames
BRIGHTEST = 99.7  # percentile of the true magnitudes that gets the lightest colour
GAMMA = 0.5  # of magnitudes: shows soft partials beside loud ones
MOST_CODEBOOKS = 8  # whose codes are drawn one by one
TEACHER, TARGETS, PREDICTED = COLOURS[7], COLOURS[0], COLOURS[1]


def draw_spectra(clip: HeldOutClip) -> bytes:
    """A PNG: true, masked and predicted spectrum side by side, in one scale."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import MaxNLocator

    hidden = np.ma.masked_array(clip.true, np.broadcast_to(clip.masked[:, None], clip.true.shape))
    norm = PowerNorm(GAMMA, 0, max(float(np.percentile(clip.true, BRIGHTEST)), 1e-6), clip=True)
    with new_figure(13.2, 4.4) as figure:
        places = figure.subplots(1, 3, sharex=True, sharey=True)
        titles = ("true", f"what the model hears ({100 * clip.masked.mean():.0f} % of the frames hidden)", "predicted")
        for axes, title, spectrum in zip(places, titles, (clip.true, hidden, clip.predicted)):
            image = _draw_spectrum(axes, spectrum, norm)
            axes.set(title=title, xlabel="seconds")
        _mark_masked(places[2], clip.masked)
        label_octaves(places[0], clip.frequencies)
        places[0].set_ylabel("Hz")
        figure.colorbar(image, ax=list(places), label="magnitude", aspect=30, pad=0.01, ticks=MaxNLocator(4))
        return as_png(figure)


def _draw_spectrum(axes, spectrum: np.ndarray, norm):
    """The image of [T, Q] magnitudes."""
    from matplotlib import colormaps

    colours = colormaps[MAP].with_extremes(bad=HIDDEN)
    num_frames, num_bins = spectrum.shape
    extent = (0, num_frames * HOP / SAMPLE_RATE, -0.5, num_bins - 0.5)
    axes.grid(False)
    shown = spectrum if np.ma.isMaskedArray(spectrum) else np.clip(spectrum, 0, None)
    return axes.imshow(shown.T, origin="lower", aspect="auto", cmap=colours, norm=norm, extent=extent, interpolation="nearest")


def _mark_masked(axes, masked: np.ndarray) -> None:
    """A strip above the spectrum where frames were hidden."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked.astype(int), [0]])))
    for first, stop in edges.reshape(-1, 2) * HOP / SAMPLE_RATE:
        axes.axvspan(first, stop, ymin=0.975, ymax=1.0, color=HIDDEN, linewidth=0)


def draw_usage(teacher: Sequence[CodebookStats], predictions: Predictions) -> bytes:
    """A PNG: perplexity of each codebook, and the share of each code, for the teacher, the clips' targets and the predictions.

    Args:
        teacher: of the training tracks; empty if their store is gone.
    """
    number = len(predictions.codes)
    shown = min(number, MOST_CODEBOOKS)
    columns = min(4, shown)
    rows = -(-shown // columns)
    with new_figure(13.2, 2.6 + 2.2 * rows) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=(2.6, 2.2 * rows))
        _draw_perplexities(above.subplots(), teacher, predictions)
        places = below.subplots(rows, columns, squeeze=False, sharey=True).flat
        for codebook, axes in enumerate(places):
            if codebook >= shown:
                axes.set_axis_off()
                continue
            _draw_shares(axes, codebook, teacher, predictions)
        below.axes[0].legend(loc="lower left")
        below.supylabel("share of frames", fontsize=9)
        below.supxlabel("codes, most used first", fontsize=9)
        return as_png(figure)


def _draw_perplexities(axes, teacher: Sequence[CodebookStats], predictions: Predictions) -> None:
    """Three bars for each codebook."""
    number = len(predictions.codes)
    bars = [
        ("teacher, training tracks", TEACHER, [codebook.perplexity for codebook in teacher]),
        ("targets of the held-out clips", TARGETS, [perplexity(counts[1]) for counts in predictions.codes]),
        ("predictions of the held-out clips", PREDICTED, [perplexity(counts[0]) for counts in predictions.codes]),
    ]
    for place, (label, colour, heights) in enumerate(bars):
        if not heights:
            continue
        drawn = axes.bar(np.arange(number) + 0.27 * (place - 1), heights, width=0.25, color=colour, label=label)
        if number <= 2 * MOST_CODEBOOKS:
            axes.bar_label(drawn, fmt="%.3g", fontsize=7, padding=1)
    axes.set(title="perplexity: codes in use, if they were used alike", xlabel="codebook", xticks=range(number))
    axes.margins(y=0.15)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_shares(axes, codebook: int, teacher: Sequence[CodebookStats], predictions: Predictions) -> None:
    predicted, targets = predictions.codes[codebook]
    curves = [("targets", TARGETS, targets), ("predictions", PREDICTED, predicted)]
    if teacher:
        curves.insert(0, ("teacher", TEACHER, teacher[codebook].counts))
    for label, colour, counts in curves:
        shares = sorted_shares(counts)
        axes.loglog(np.arange(1, len(shares) + 1), shares, color=colour, label=label, marker="o" if len(shares) < 5 else None, markersize=3)
    axes.set_title(f"codebook {codebook}: {np.count_nonzero(predicted)} of {np.count_nonzero(targets)} codes predicted")


def sorted_shares(counts: np.ndarray) -> np.ndarray:
    """Shares of the codes that occur, largest first."""
    used = np.sort(np.asarray(counts)[np.asarray(counts) > 0])[::-1]
    return used / used.sum() if len(used) else used


def perplexity(counts: np.ndarray) -> float:
    """exp of the entropy of counts [V]; 0 without any."""
    return CodebookStats(np.asarray(counts)).perplexity

