"""One picture of a run: what each codebook and the CQT gained over their baselines, update by update."""

from mert_fairseq.report.canvas import as_png, colour, new_figure
from mert_fairseq.report.learning import LearningReport


def draw(report: LearningReport) -> bytes:
    """A PNG; needs matplotlib (`pip install "mert-fairseq[demo]"`)."""
    with new_figure(13.2, 4.2) as figure:
        gains, accuracy, spectrum = figure.subplots(1, 3)
        _draw_gains(gains, report)
        _draw_accuracy(accuracy, report)
        _draw_spectrum(spectrum, report)
        for axes in (gains, accuracy, spectrum):
            axes.set_xlabel("update")
        figure.suptitle(f"{report.run_dir.resolve().name}: held-out tracks, masked frames")
        return as_png(figure)


def _draw_gains(axes, report: LearningReport) -> None:
    last = []
    for codebook, baseline in enumerate(report.codes):
        updates, losses = report.log.curve(f"loss_m_{codebook}")
        gained = [baseline.entropy - loss for loss in losses]
        axes.plot(updates, gained, label=str(codebook), color=colour(codebook, len(report.codes)))
        last.append(gained[-1])
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylim(bottom=min(-0.5, 1.2 * min(last)))
    axes.set_title("nats below the codes' entropy")
    axes.legend(title="codebook", fontsize="x-small", ncols=2)


def _draw_accuracy(axes, report: LearningReport) -> None:
    for codebook, baseline in enumerate(report.codes):
        updates, hits = report.log.curve(f"correct_m_{codebook}")
        own = colour(codebook, len(report.codes))
        axes.plot(updates, [100 * hit for hit in hits], label=str(codebook), color=own)
        axes.axhline(100 * baseline.accuracy_heldout, color=own, linestyle=":", linewidth=0.8)
    axes.set_title("accuracy %, dotted: most frequent code")


def _draw_spectrum(axes, report: LearningReport) -> None:
    updates, errors = report.log.curve("loss_cqt_m")
    axes.plot(updates, errors, label="model")
    if report.cqt is not None:
        axes.axhline(report.cqt.mse_heldout, color="black", linestyle=":", label="mean spectrum")
    axes.set_title("CQT mean squared error")
    axes.legend(fontsize="x-small")
