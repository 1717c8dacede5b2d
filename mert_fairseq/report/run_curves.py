"""The curves of one run: loss terms, accuracy per codebook, optimisation, speed."""

from typing import List, Optional

from mert_fairseq.report.canvas import COLOURS, colour
from mert_fairseq.report.panels import Curve, Level, Panel
from mert_fairseq.report.run import Run
from mert_fairseq.report.run_log import RunLog

TRAIN, VALID = COLOURS[0], COLOURS[1]
MAX_CODEBOOKS = 32  # drawn one by one


def loss_panels(run: Run) -> List[Panel]:
    """The loss and its terms, unweighted."""
    learning = run.learning
    entropy = None if learning is None else sum(baseline.entropy for baseline in learning.codes)
    spectrum = None if learning is None or learning.cqt is None else learning.cqt.mse_heldout
    return [
        Panel("loss", _both(run.log, "loss")),
        Panel("codes: cross-entropy, nats", _both(run.log, "loss_codes_m"), _level(entropy, "held-out entropy")),
        Panel(_weighted(run, "CQT error", "cqt_weight"), _both(run.log, "loss_cqt_m"), _level(spectrum, "mean spectrum")),
        Panel(_weighted(run, "mean square of features", "features_pen_weight"), _both(run.log, "loss_features_pen"), log=True),
    ]


def _weighted(run: Run, name: str, key: str) -> str:
    """A term's name with its weight in the loss."""
    weight = run.setting(f"criterion.{key}")
    return f"{name} (weight {weight:g})" if isinstance(weight, (int, float)) else name


def accuracy_panels(run: Run) -> List[Panel]:
    """One for each codebook, beside always guessing the most frequent code."""
    panels = []
    for codebook in range(min(run.log.num_codebooks, MAX_CODEBOOKS)):
        frequent = run.most_frequent(codebook)
        level = _level(None if frequent is None else 100 * frequent, "most frequent code")
        panels.append(Panel(f"codebook {codebook}", _both(run.log, f"correct_m_{codebook}", 100), level, from_zero=True))
    return panels


def optimisation_panels(run: Run) -> List[Panel]:
    """Gradient norm, learning rate, and in half precision the loss scale."""
    clip = run.setting("optimization.clip_norm")
    panels = [
        Panel("gradient norm", [_train(run.log, "gnorm")], _level(clip or None, f"clip_norm {clip}"), log=True),
        Panel("learning rate", [_train(run.log, "lr")], from_zero=True),
        Panel("updates clipped, %", [_train(run.log, "clip")], from_zero=True),
    ]
    if run.log.curve("loss_scale", "train")[0]:
        return [*panels, Panel("loss scale", [_train(run.log, "loss_scale")], log=True)]
    return [*panels, Panel("share of frames masked", _both(run.log, "masked_share"))]


def speed_panels(run: Run) -> List[Panel]:
    """How fast it went, and what it waited for."""
    return [
        Panel("audio per second, s", [_train(run.log, "audio_s_per_s")], from_zero=True),
        Panel("model FLOP utilisation, %", [_train(run.log, "mfu", 100)], from_zero=True),
        Panel("waiting for data, %", [_train(run.log, "data_wait", 100)], from_zero=True),
        Panel("peak memory, GB", [_train(run.log, "peak_mem_gb")], from_zero=True),
    ]


def usage_panels(run: Run) -> List[Panel]:
    """The codes predicted at each validation, all codebooks: how many, and whether they are better than a constant guess."""
    number = run.log.num_codebooks
    perplexities, ratios = [], []
    for codebook in range(number):
        own = {"label": str(codebook), "colour": colour(codebook, number), "marked": True}
        perplexities.append(Curve(points=run.log.curve(f"perplexity_m_{codebook}"), **own))
        updates, frequent = run.log.curve(f"most_frequent_m_{codebook}")
        hits = [run.log.valid[update].get(f"correct_m_{codebook}", 0) / max(share, 1e-9) for update, share in zip(updates, frequent)]
        ratios.append(Curve(points=(updates, hits), **own))
    return [
        Panel("perplexity of predictions, by codebook", perplexities, log=True),
        Panel("accuracy over the most frequent code's, by codebook", ratios, [Level("constant guess", 1)]),
    ]


def _both(log: RunLog, key: str, times: float = 1) -> List[Curve]:
    updates, values = log.curve(key, "valid")
    return [_train(log, key, times), Curve("held out", (updates, [times * value for value in values]), VALID, marked=True)]


def _train(log: RunLog, key: str, times: float = 1) -> Curve:
    updates, values = log.curve(key, "train")
    return Curve("training", (updates, [times * value for value in values]), TRAIN)


def _level(value: Optional[float], label: str) -> List[Level]:
    """A level, or none where there is no value."""
    return [] if value is None else [Level(label, value)]
