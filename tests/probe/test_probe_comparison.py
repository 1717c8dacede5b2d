"""Runs are held against one another item by item."""

import pytest
from made_results import lines_of, write_task

from mert_fairseq.errors import MertError
from mert_fairseq.probe.comparison import compare, compare_with_several
from mert_fairseq.probe.significance import seed_interval


def test_two_runs_are_compared_item_by_item(tmp_path):
    for name, shares in (("good", (0.9, 0.7)), ("bad", (0.5, 0.7))):
        for task, share in zip(("GTZAN", "GTZANBT"), shares):
            write_task(tmp_path / name, task, share)
    table = compare(tmp_path / "good", tmp_path / "bad")
    assert table.startswith("| task | good less bad | 95 % interval | p |")
    assert lines_of(table, "| GTZAN |")[0].startswith("| GTZAN | +40.0 | +25.0 to")
    assert lines_of(table, "| GTZANBT |") == ["| GTZANBT | +0.0 | +0.0 to +0.0 | 1.000 |"]
    assert lines_of(table, "| mean of 2 |")[0].startswith("| mean of 2 | +20.0 |")
    (said,) = lines_of(table, "Differences in points of 100")
    assert "p: two-sided paired bootstrap test over the test items" in said and not lines_of(table, "- ")
    write_task(tmp_path / "other", "MTT", 0.5)
    with pytest.raises(MertError, match="have no task in common; they have GTZAN, GTZANBT, and MTT"):
        compare(tmp_path / "good", tmp_path / "other")


def test_a_run_against_several_has_the_interval_over_them(tmp_path):
    """Ours has 30 of 40 right; others 20, 22 and 24: 25, 20 and 15 points more."""
    write_task(tmp_path / "ours", "GTZAN", 0.75)
    others = [tmp_path / f"random{number}" for number in range(3)]
    for other, share in zip(others, (0.5, 0.55, 0.6)):
        write_task(other, "GTZAN", share)
    table = compare_with_several(tmp_path / "ours", others)
    low, high = seed_interval([25.0, 20.0, 15.0])
    assert lines_of(table, "| GTZAN |") == [f"| GTZAN | +25.0 | +20.0 | +15.0 | +20.0 | {low:+.1f} to {high:+.1f} |"]
    assert (round(low, 1), round(high, 1)) == (7.6, 32.4)  # 20 -+ 4.3027 * 5 / sqrt(3)
    assert table.startswith("| task | ours less random0 | ours less random1 | ours less random2 | mean | 95 % interval over 3 runs |")


def test_a_run_that_was_had_in_another_way_says_so(tmp_path):
    part = {"options": {}, "layers": ["0"], "rates": [5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2]}
    write_task(tmp_path / "whole", "GTZAN", 0.9, settings={"options": {}})
    write_task(tmp_path / "part", "GS", 0.5, settings=part)  # not compared
    write_task(tmp_path / "part", "GTZAN", 0.5, settings=part)
    for table in (compare(tmp_path / "whole", tmp_path / "part"), compare_with_several(tmp_path / "whole", [tmp_path / "part"] * 2)):
        (note,) = lines_of(table, "- ")
        assert note.startswith("- part, GTZAN: --layers 0")


def test_several_have_the_same_tasks(tmp_path):
    for name, tasks in (("ours", ("GTZAN", "GS")), ("one", ("GTZAN", "GS")), ("two", ("GTZAN",))):
        for task in tasks:
            write_task(tmp_path / name, task, 0.5)
    with pytest.raises(MertError, match="two in GTZAN, and of .*one GS, GTZAN, mean of 2; the same tasks of all are needed"):
        compare_with_several(tmp_path / "ours", [tmp_path / "one", tmp_path / "two"])


def test_items_that_were_drawn_otherwise_are_not_compared(tmp_path):
    write_task(tmp_path / "one", "GTZAN", 0.5)
    write_task(tmp_path / "two", "GTZAN", 0.5, recordings=tuple(f"song{number // 4}" for number in range(40)))
    with pytest.raises(MertError, match="not tested on the same items"):
        compare(tmp_path / "one", tmp_path / "two")
