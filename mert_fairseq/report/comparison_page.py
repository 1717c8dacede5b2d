"""The page of several runs."""

from typing import Sequence

from mert_fairseq.report.comparison import differing_settings, final_figures, learning_panels, names_of, running_panels
from mert_fairseq.report.html import alarm_list, page, paragraph, table
from mert_fairseq.report.page_file import PageFile
from mert_fairseq.report.panels import draw_panels
from mert_fairseq.report.run import Run
from mert_fairseq.tasks.alarm_line import short_list


def write_comparison_page(runs: Sequence[Run], file: PageFile) -> None:
    """Writes the page and its pictures.

    Raises:
        MertError: a file cannot be written, or matplotlib is missing.
    """
    names = names_of(runs)
    learning = draw_panels(learning_panels(runs), columns=3, shared_legend=True)
    running = draw_panels(running_panels(runs), columns=3, shared_legend=True)
    sections = [
        ("Final figures", _figures(runs, names)),
        ("Settings that differ", _settings(runs, names)),
        ("What was learned", _learning_text(runs, names) + file.picture("learning", learning, "held-out curves of all runs by update")),
        ("How they went", file.picture("running", running, "optimisation and speed of all runs by update")),
        ("Alarms", _alarms(runs, names)),
    ]
    folders = "; ".join(str(run.run_dir) for run in runs)
    file.write(page(f"{len(runs)} MERT runs", ", ".join(names), sections, footer=f"mert report {folders.replace('; ', ' ')}"))


def _figures(runs: Sequence[Run], names: Sequence[str]) -> str:
    text = "What was learned is of each run's best validation, the rest of its last line."
    return paragraph(text) + table(("", *names), [(key, *values) for key, values in final_figures(runs).items()])


def _settings(runs: Sequence[Run], names: Sequence[str]) -> str:
    rows = [(key, *values) for key, values in differing_settings(runs).items()]
    if not rows:
        return paragraph("None: all settings are the same.", "note")
    return paragraph("-: not given, the default of the package's version.") + table(("setting", *names), rows, "text")


def _learning_text(runs: Sequence[Run], names: Sequence[str]) -> str:
    shown = paragraph("Held-out tracks, masked frames. Of different teachers compare the nats below the entropy, not the cross-entropies.")
    for run, name in zip(runs, names):
        if run.learning is None:
            shown += paragraph(f"{name} has no baselines: {run.without}", "note")
    return shown


def _alarms(runs: Sequence[Run], names: Sequence[str]) -> str:
    items = [
        (
            f"{name}, update {alarm.update:,}: {alarm.name.replace('_', ' ')} ({short_list(alarm.subjects)}){' is over' * alarm.over}.",
            alarm.text,
            alarm.over,
        )
        for run, name in zip(runs, names)
        for alarm in run.log.alarms
    ]
    return alarm_list(items) if items else paragraph("None in the logs.", "good")
