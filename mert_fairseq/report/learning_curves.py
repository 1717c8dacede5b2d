"""One picture of a run: what each codebook and the CQT gained over their baselines, update by update."""

from pathlib import Path

from mert_fairseq.errors import MertError
from mert_fairseq.report.learning import LearningReport


def draw(report: LearningReport, path: Path) -> None:
    """Writes a PNG; needs matplotlib (`pip install "mert-fairseq[demo]"`)."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MertError('no matplotlib for the picture: pip install "mert-fairseq[demo]"') from error
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    gains, accuracy, spectrum = figure.subplots(1, 3)
    _draw_gains(gains, report)
    _draw_accuracy(accuracy, report)
    _draw_spectrum(spectrum, report)
    for axes in (gains, accuracy, spectrum):
        axes.set_xlabel("update")
        axes.grid(alpha=0.3)
    figure.suptitle(f"{report.run_dir.name}: held-out tracks, masked frames")
    try:
        figure.savefig(path, dpi=110, format="png")
    except OSError as error:
        raise MertError(f"{path}: the picture cannot be written ({error.strerror}); name another place with --picture") from error


def _draw_gains(axes, report: LearningReport) -> None:
    for codebook, baseline in enumerate(report.codes):
        updates, losses = report.log.curve(f"loss_m_{codebook}")
        axes.plot(updates, [baseline.entropy - loss for loss in losses], label=str(codebook))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylim(bottom=-0.5)
    axes.set_title("nats below the codes' entropy")
    axes.legend(title="codebook", fontsize="x-small", ncols=2)


def _draw_accuracy(axes, report: LearningReport) -> None:
    for codebook, baseline in enumerate(report.codes):
        updates, hits = report.log.curve(f"correct_m_{codebook}")
        (line,) = axes.plot(updates, [100 * hit for hit in hits], label=str(codebook))
        axes.axhline(100 * baseline.accuracy_heldout, color=line.get_color(), linestyle=":", linewidth=0.8)
    axes.set_title("accuracy %, dotted: most frequent code")


def _draw_spectrum(axes, report: LearningReport) -> None:
    updates, errors = report.log.curve("loss_cqt_m")
    axes.plot(updates, errors, label="model")
    if report.cqt is not None:
        axes.axhline(report.cqt.mse_heldout, color="black", linestyle=":", label="mean spectrum")
    axes.set_title("CQT mean squared error")
    axes.legend(fontsize="x-small")
