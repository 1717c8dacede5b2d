"""Several runs beside each other: curves, settings that differ, final figures."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

from mert_fairseq.report.canvas import colour
from mert_fairseq.report.panels import Curve, Panel
from mert_fairseq.report.run import Run

Points = Tuple[Sequence[float], Sequence[float]]  # updates, values
MISSING = "-"  # in place of a figure that a run has not

#: Title, logged key, split, factor, logarithmic.
LEARNING = (
    ("codes: cross-entropy, nats", "loss_codes_m", "valid", 1, False),
    ("CQT error", "loss_cqt_m", "valid", 1, False),
    ("training loss", "loss", "train", 1, False),
)
RUNNING = (
    ("gradient norm", "gnorm", "train", 1, True),
    ("learning rate", "lr", "train", 1, False),
    ("mean square of features", "loss_features_pen", "train", 1, True),
    ("audio per second, s", "audio_s_per_s", "train", 1, False),
    ("model FLOP utilisation, %", "mfu", "train", 100, False),
    ("waiting for data, %", "data_wait", "train", 100, False),
)


def names_of(runs: Sequence[Run]) -> List[str]:
    """Each run's folder; with folders above it as far as names are alike."""
    parts = [run.run_dir.resolve().parts for run in runs]
    depth = 1
    while depth < max(map(len, parts)) and len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def learning_panels(runs: Sequence[Run]) -> List[Panel]:
    """What the runs learned on held-out tracks; against baselines where all runs have theirs, for teachers differ."""
    panels = [_panel(runs, *what) for what in LEARNING]
    accuracy = Panel("mean accuracy of the codebooks, %", _curves(runs, [mean_accuracy(run) for run in runs], marked=True))
    gains = [([], []) if run.learning is None else _gains(run) for run in runs]
    gain = Panel("nats below the codes' entropy, summed", _curves(runs, gains, marked=True), missing="no targets at hand")
    return [panels[0], gain, accuracy, *panels[1:]]


def running_panels(runs: Sequence[Run]) -> List[Panel]:
    """How the runs went."""
    return [_panel(runs, *what) for what in RUNNING]


def _panel(runs: Sequence[Run], title: str, key: str, split: str, times: float, log: bool) -> Panel:
    points = []
    for run in runs:
        updates, values = run.log.curve(key, split)
        points.append((updates, [times * value for value in values]))
    return Panel(title, _curves(runs, points, marked=split == "valid"), log=log)


def _curves(runs: Sequence[Run], points: Sequence[Points], marked: bool) -> List[Curve]:
    names = names_of(runs)
    return [Curve(names[number], found, colour(number, len(runs)), marked=marked) for number, found in enumerate(points)]


def mean_accuracy(run: Run) -> Tuple[List[int], List[float]]:
    """(updates, %) of held-out masked frames, averaged over codebooks."""
    keys = [f"correct_m_{codebook}" for codebook in range(run.log.num_codebooks)]
    whole = {update: record for update, record in sorted(run.log.valid.items()) if keys and all(key in record for key in keys)}
    return list(whole), [100 * sum(record[key] for key in keys) / len(keys) for record in whole.values()]


def _gains(run: Run) -> Tuple[List[int], List[float]]:
    updates = sorted(run.learning.log.valid)
    return updates, [run.learning.total_gain(update) for update in updates]


def differing_settings(runs: Sequence[Run]) -> Dict[str, List[str]]:
    """Setting or version -> its value in each run, of those that are not the same in all."""
    settings = [{**run.settings, **{f"version of {name}": version for name, version in run.log.versions.items()}} for run in runs]
    keys = sorted(set().union(*settings))
    shown = {key: [_setting(own[key]) if key in own else MISSING for own in settings] for key in keys}
    return {key: values for key, values in shown.items() if len(set(values)) > 1}


def _setting(value: Any) -> str:
    """A setting as text; 60 and 60.0 are the same."""
    if isinstance(value, list):
        return f"[{', '.join(map(_setting, value))}]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def final_figures(runs: Sequence[Run]) -> Dict[str, List[str]]:
    """Figure -> its value in each run: of the best validation for what was learned, of the last line for the rest; none that all lack."""
    rows: Dict[str, List[str]] = {}
    for run in runs:
        for key, value in figures_of(run).items():
            rows.setdefault(key, []).append(value)
    return {key: values for key, values in rows.items() if set(values) != {MISSING}}


def figures_of(run: Run) -> Dict[str, str]:
    """The final figures of one run, in words that fit a table."""
    log, best = run.log, best_update(run)
    record = log.valid.get(best, {})
    accuracies = dict(zip(*mean_accuracy(run)))
    learning = run.learning
    return {
        "state": run.state,
        "updates": f"{log.last_update:,}",
        "best held-out update": f"{best:,}" if record else MISSING,
        "codes: cross-entropy, nats": _shown(record.get("loss_codes_m"), "{:.2f}"),
        "nats below the held-out entropy": _shown(None if learning is None else learning.total_gain(learning.best_update), "{:.2f}"),
        "mean accuracy, %": _shown(accuracies.get(best), "{:.2f}"),
        "CQT error": _shown(record.get("loss_cqt_m"), "{:.4f}"),
        "CQT error / mean spectrum's": _shown(None if learning is None else learning.cqt_ratio(learning.best_update), "{:.3f}"),
        "audio per second, s": _shown(log.latest("audio_s_per_s"), "{:.0f}"),
        "model FLOP utilisation, %": _shown(_percent(log.latest("mfu")), "{:.1f}"),
        "waiting for data, %": _shown(_percent(log.latest("data_wait")), "{:.1f}"),
        "device-hours": _shown(log.latest("device_hours"), "{:.2f}"),
        "alarms raised": str(sum(not alarm.over for alarm in log.alarms)),
    }


def best_update(run: Run) -> int:
    """The validated update with the lowest cross-entropy summed over codebooks; 0 without one."""
    sums = {update: record["loss_codes_m"] for update, record in run.log.valid.items() if "loss_codes_m" in record}
    return min(sums, key=sums.get, default=0)


def _percent(share: Optional[float]) -> Optional[float]:
    return None if share is None else 100 * share


def _shown(value: Optional[float], form: str) -> str:
    return MISSING if value is None else form.format(value)
