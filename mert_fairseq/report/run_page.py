"""The page of one run."""

from typing import Dict, List, Optional, Tuple

from mert_fairseq.data.target_store import store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.report.comparison import MISSING, figures_of
from mert_fairseq.report.held_out import Predictions, predict
from mert_fairseq.report.held_out_pictures import draw_spectra, draw_usage
from mert_fairseq.report.html import alarm_list, folded, page, paragraph, picture, table, tiles
from mert_fairseq.report.label_stats import CodebookStats, store_stats
from mert_fairseq.report.learning import LearningReport, closing_lines
from mert_fairseq.report.page_file import PageFile
from mert_fairseq.report.panels import draw_panels
from mert_fairseq.report.run import Run
from mert_fairseq.report.run_curves import (
    MAX_CODEBOOKS,
    accuracy_panels,
    loss_panels,
    optimisation_panels,
    speed_panels,
    usage_panels,
)
from mert_fairseq.tasks.alarm_line import short_list, still_on

TEACHER_HOURS = 10.0  # of the training tracks' codes that their use is counted in
TILES = ("codes: cross-entropy, nats", "nats below the held-out entropy", "CQT error / mean spectrum's", "mean accuracy, %")
TILES += ("audio per second, s", "model FLOP utilisation, %", "waiting for data, %", "device-hours")


def write_run_page(run: Run, file: PageFile, learning_curves: Optional[bytes] = None) -> None:
    """Writes the page and its pictures. What cannot be shown is said in its place.

    Args:
        learning_curves: the picture of a run that has baselines, a file of its own.

    Raises:
        MertError: a file cannot be written, or matplotlib is missing.
    """
    predictions, reason = _predictions(run)
    sections = [
        ("Alarms", _alarms(run)),
        ("What was learned", _learned(run, learning_curves)),
        ("Loss", _loss(run, file)),
        ("Accuracy per codebook", _accuracy(run, file)),
        ("Held-out spectrum", _spectra(predictions, reason, file)),
        ("Use of the codes", _usage(run, predictions, reason, file)),
        ("Optimisation", file.picture("optimisation", draw_panels(optimisation_panels(run)), "gradient norm, learning rate, clipping")),
        ("Speed", _speed(run, file)),
        ("Settings and versions", _settings(run)),
    ]
    figures = figures_of(run)
    large = [(figures[key], key) for key in TILES if figures[key] != MISSING]
    file.write(page(f"{run.name}: MERT pre-training", _under_title(run), sections, tiles(large), f"mert report {run.run_dir}"))


def _under_title(run: Run) -> str:
    most = run.setting("optimization.max_update")
    updates = f"update {run.log.last_update:,}" + (f" of {most:,}" if isinstance(most, int) and most else "")
    said = f"{updates}, {run.state}; {run.log.num_codebooks} codebooks of {', '.join(run.config.task.get('labels') or [])}"
    return said if run.log.last_time is None else f"{said}; last line of the log {run.log.last_time}"


def _alarms(run: Run) -> str:
    on = {(name, subject) for name, subject in still_on(run.log.alarms)}
    if not run.log.alarms:
        if run.log.versions:  # as old as the alarms
            return paragraph("None was raised.", "good")
        return paragraph("None in the log, which is of a version of the package that raises none.", "note")
    items: List[Tuple[str, str, bool]] = []
    for alarm in run.log.alarms:
        name, subjects = alarm.name.replace("_", " "), short_list(alarm.subjects)
        if alarm.over:
            items.append((f"Update {alarm.update:,}: {name} is over ({subjects}).", "", True))
        else:
            lasting = " Still on." if any((alarm.name, subject) in on for subject in alarm.subjects) else ""
            items.append((f"Update {alarm.update:,}: {name} ({subjects}).{lasting}", alarm.text, False))
    return alarm_list(items)


def _learned(run: Run, curves: Optional[bytes]) -> str:
    learning = run.learning
    if learning is None:
        return paragraph(f"Not shown, for want of baselines: {run.without}", "note")
    best = learning.best_update
    text = (
        f"Held-out tracks, masked frames only, nats; the table is of update {best:,}, the best. The entropy of the held-out codes is the "
        "best that any constant guess can do; to be above the most frequent code takes hearing. Baselines are of all held-out frames, a "
        "validation may hear fewer (task.max_valid_crops)."
    )
    shown = picture(curves, "nats below the entropy, accuracy and CQT error by update") if curves else ""
    return paragraph(text) + shown + _by_codebook(learning) + "".join(paragraph(line) for line in closing_lines(learning))


def _by_codebook(learning: LearningReport) -> str:
    head = ("codebook", "cross-entropy", "entropy", "nats below", "accuracy %", "most frequent code %", "training tracks' %")
    rows, record = [], learning.log.valid[learning.best_update]
    for codebook, baseline in enumerate(learning.codes):
        figures = (record[f"loss_m_{codebook}"], baseline.entropy, learning.gain(learning.best_update, codebook))
        shares = (record[f"correct_m_{codebook}"], baseline.accuracy_heldout, baseline.accuracy_train)
        rows.append([codebook, *(f"{value:.2f}" for value in figures), *(f"{100 * share:.2f}" for share in shares)])
    return table(head, rows)


def _loss(run: Run, file: PageFile) -> str:
    text = "The loss is the weighted sum; its terms are shown unweighted, with the weight in the title. Dotted: known without hearing."
    return paragraph(text) + file.picture("loss", draw_panels(loss_panels(run)), "loss and its terms by update")


def _accuracy(run: Run, file: PageFile) -> str:
    panels = accuracy_panels(run)
    if not panels:
        return paragraph("No codes were predicted on masked frames.", "note")
    left_out = run.log.num_codebooks - len(panels)
    text = "Per cent of masked frames whose code is the most probable one. Dotted: always guessing the held-out frames' most frequent code."
    if left_out:
        text += f" The first {MAX_CODEBOOKS} codebooks; {left_out} more are in the log."
    return paragraph(text) + file.picture("accuracy", draw_panels(panels), "accuracy of each codebook by update")


def _predictions(run: Run) -> Tuple[Optional[Predictions], str]:
    try:
        return predict(run.run_dir, run.config), ""
    except MertError as error:
        return None, str(error)


def _spectra(predictions: Optional[Predictions], reason: str, file: PageFile) -> str:
    if predictions is None:
        return paragraph(f"Not shown: {reason}", "note")
    clip = predictions.clip
    if clip is None:
        return paragraph("This run predicts no spectrum (model.audio_cqt_loss_m=false).", "note")
    text = (
        f"{clip.file}, {clip.start_s:.1f} to {clip.start_s + clip.length_s:.1f} s, by {predictions.checkpoint.name} "
        f"(update {predictions.num_updates:,}), masked as in training: of {predictions.seconds:.0f} s heard the clip of middling "
        f"loudness. Mean squared error of its hidden frames {clip.error:.4f}, of the mean spectrum in its place {clip.error_of_mean:.4f}. "
        "Grey above the prediction: hidden frames."
    )
    return paragraph(text) + file.picture("spectrum", draw_spectra(clip), "a held-out clip's CQT: true, masked, predicted", "spectra")


def _usage(run: Run, predictions: Optional[Predictions], reason: str, file: PageFile) -> str:
    panels, by_update = usage_panels(run), ""
    if any(panel.drawn for panel in panels):
        drawn = draw_panels(panels, columns=2, shape=2.3)
        by_update = file.picture("predictions", drawn, "perplexity and accuracy of the predicted codes by update")
    if predictions is None:
        return paragraph(f"Predictions are not shown: {reason}", "note") + by_update
    teacher, missing = _teacher(run)
    text = (
        f"How often each code is used: by the teacher, as target of {predictions.seconds:.0f} s of held-out audio, and as the most "
        "probable code there. Most probable codes are always fewer than targets; a single one is a dead codebook."
    )
    shown = file.picture("codes", draw_usage(teacher, predictions), "use of each codebook by teacher and predictions")
    return paragraph(text) + (paragraph(f"Without the teacher's own: {missing}", "note") if missing else "") + shown + by_update


def _teacher(run: Run) -> Tuple[List[CodebookStats], str]:
    """The training tracks' codes, stores side by side; or why there are none."""
    task = run.config.task
    try:
        stores = [store_stats(store_folder(task.label_dir, "train", name), TEACHER_HOURS) for name in task.labels]
    except MertError as error:
        return [], str(error)
    return [codebook for store in stores for codebook in store.codebooks], ""


def _speed(run: Run, file: PageFile) -> str:
    panels = speed_panels(run)
    if not any(panel.drawn for panel in panels):
        return paragraph("Not in this log, which is of an older version of the package.", "note")
    text = (
        "Seconds of audio trained on per second; FLOPs of the model's definition over what large matrix products reach on the same "
        "device; share of the updates' time spent waiting for batches."
    )
    return paragraph(text) + file.picture("speed", draw_panels(panels), "throughput, FLOP utilisation, data wait, memory")


def _settings(run: Run) -> str:
    versions = run.log.versions
    shown = table(("", "version"), versions.items(), "text") if versions else paragraph("The log names no versions.", "note")
    given = [override.partition("=")[::2] for override in run.overrides]
    if given:
        shown += paragraph("Given on the command line:") + table(("setting", "value"), given, "text")
    groups: Dict[str, List[Tuple[str, str]]] = {}
    for key, value in run.settings.items():
        groups.setdefault(key.partition(".")[0], []).append((key, str(value)))
    first = [name for name in ("task", "model", "criterion", "optimization", "optimizer", "lr_scheduler", "dataset") if name in groups]
    for name in [*first, *sorted(set(groups) - set(first))]:
        shown += folded(f"{name} ({len(groups[name])})", table(("setting", "value"), groups[name], "text"))
    return shown
