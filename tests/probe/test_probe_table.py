"""The table's averages are the papers', and its cells those of the runs."""

import argparse
from dataclasses import replace

import numpy as np
import pytest
from made_results import lines_of, made_scored, write_task

from mert_fairseq.cli import probe_table as probe_cli
from mert_fairseq.probe.comparison import compare, compare_with_several
from mert_fairseq.probe.published import ROWS, SOURCES, TASKS
from mert_fairseq.probe.results import scores_of, write_results
from mert_fairseq.probe.table import average, probe_table


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.model)
def test_published_averages_come_out_as_printed(row):
    assert set(row.scores) <= set(TASKS) and all(len(scores) == len(TASKS[task]) for task, scores in row.scores.items())
    assert {row.source, *row.others.values()} <= set(SOURCES) and set(row.others) <= {*row.scores, "average"}
    if row.average is None:
        assert len(row.scores) < len(TASKS)
    else:
        assert float(average({task: np.mean(scores) for task, scores in row.scores.items()}, 14)) == pytest.approx(row.average, abs=0.1001)


def test_all_printed_averages_are_there():
    printed = {row.model: row.average for row in ROWS if row.average}
    assert sorted(printed.values()) == [59.9, 62.3, 62.9, 63.0, 63.0, 63.3, 63.7, 64.2, 64.5, 64.7]


def test_the_average_is_of_tasks_each_the_mean_of_its_metrics(tmp_path):
    """Thirteen tasks: all right, but for key 50; SDR 5 dB each. R2 of half the value: 1 - 0.25 / 0.25 * 0.5 = 0.5 of both."""
    for task in TASKS:
        write_task(tmp_path / "mine", task, {"GS": 0.5, "MUSDB18": 0.5}.get(task, 1.0))
    table = probe_table([tmp_path / "mine"])
    (row,) = lines_of(table, "| **mine**")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:6] == ["100.0/100.0", "50.0", "100.0", "100.0", "100.0/100.0"] and cells[14] == "5.0/5.0/5.0/5.0"
    assert cells[15] == f"{(12 * 100 + 50 + 5) / 14:.1f}"
    header = table.splitlines()[0]
    assert header.count("|") == row.count("|") == 17 and "MTT ROC/AP" in header and "MUSDB18 SDR v/d/b/o" in header


def test_a_partial_mean_says_so(tmp_path):
    write_task(tmp_path / "mine", "GTZAN", 0.75)
    write_task(tmp_path / "mine", "MUSDB18", 0.5)
    (row,) = lines_of(probe_table([tmp_path / "mine"]), "| **mine**")
    assert probe_table([tmp_path / "mine"]).count("A partial mean can be compared with means over the same tasks alone") == 1
    assert row.endswith("- (partial mean of 2: 40.0) |") and row.count(" - |") == 12
    assert lines_of(probe_table([tmp_path / "mine"]), "| MULE [MP]")[0].endswith("- (partial mean of 12: 67.1) |")


def test_published_rows_carry_their_trust_marks(tmp_path):
    write_task(tmp_path / "mine", "GTZAN", 0.75)
    table = probe_table([tmp_path / "mine"])
    (row,) = lines_of(table, "| MERT-330M RVQ-VAE")
    assert "79.3 [#7]" in row and "61.2/74.7 [MQ]" in row and "87.9 |" in row and row.endswith("| 64.7 [REV] |")
    assert all(any(line.startswith(f"- [{tag}] ") for line in table.splitlines()) for tag in SOURCES)
    assert "[MP]" not in probe_table([tmp_path / "mine"], published=())


def test_own_scores_have_their_interval(tmp_path):
    write_task(tmp_path / "mine", "GTZAN", 0.75)
    (line,) = lines_of(probe_table([tmp_path / "mine"]), "| mine | GTZAN")
    _, _, _, name, score, interval, spread, seeds, layer, rate, _ = [cell.strip() for cell in line.split("|")]
    low, high = map(float, interval.split(" to "))
    assert (name, score, spread, seeds, layer, rate) == ("accuracy", "75.0", "0.0", "2", "all", "0.001")
    assert low == pytest.approx(61.6, abs=3) and high == pytest.approx(88.4, abs=3)


def test_values_are_in_the_order_of_the_table(tmp_path):
    scored = made_scored("EMO", 0.5)
    estimate = scored.reference * [1.0, 0.5]  # arousal exact, valence by half
    swapped = replace(scored, metrics=("r2_arousal", "r2_valence"), estimates=np.stack([estimate, estimate]))
    results = write_task(tmp_path / "mine", "EMO", 0.5)
    per_seed, scores = scores_of(swapped)
    write_results(tmp_path / "mine" / "EMO", replace(results, metrics=swapped.metrics, scores=scores), swapped)
    assert "50.0/100.0" in lines_of(probe_table([tmp_path / "mine"]), "| **mine**")[0]


def test_other_tasks_have_a_table_of_their_own(tmp_path):
    for name, share in (("one", 0.5), ("two", 1.0)):
        write_task(tmp_path / name, "chords", share)
        write_task(tmp_path / name, "tempo", 1.0)
    table = probe_table([tmp_path / "one", tmp_path / "two"], published=())
    assert table.startswith("| model | chords | tempo | average of 2 |")
    assert lines_of(table, "| **one**") == ["| **one** | 50.0 | 100.0 | 75.0 |"]
    assert lines_of(table, "| **two**") == ["| **two** | 100.0 | 100.0 | 100.0 |"]


def test_runs_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        write_task(tmp_path / folder / "probe", "GTZAN", 0.5)
    table = probe_table([tmp_path / "a" / "probe", tmp_path / "b" / "probe"])
    assert len(lines_of(table, f"| **{tmp_path}/a/probe**")) == len(lines_of(table, f"| **{tmp_path}/b/probe**")) == 1


def test_the_commands_print_them(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    probe_cli.add_parsers(parser.add_subparsers())
    for name, share in (("good", 0.9), ("bad", 0.5)):
        write_task(tmp_path / name, "GTZAN", share)

    def printed(*argv):
        args = parser.parse_args([str(one) for one in argv])
        assert args.run(args) == 0
        return capsys.readouterr().out

    good, bad = tmp_path / "good", tmp_path / "bad"
    assert printed("table", good, bad) == probe_table([good, bad])
    assert printed("table", good, "--own") == probe_table([good], published=())
    assert printed("table").count("\n| ") == len(ROWS) + 1  # and the line below the head
    assert printed("compare", good, bad) == compare(good, bad)
    write_task(tmp_path / "worse", "GTZAN", 0.25)
    assert printed("compare", good, bad, tmp_path / "worse") == compare_with_several(good, [bad, tmp_path / "worse"])
