"""The table says where a score was had in another way than published ones, and what its encoder was trained on."""

import pytest
from made_results import lines_of, write_task

from mert_fairseq.errors import MertError
from mert_fairseq.probe.footnotes import notes_of
from mert_fairseq.probe.registry import TASKS
from mert_fairseq.probe.results import read_results
from mert_fairseq.probe.table import probe_table

LAYERS = ["all", *map(str, range(13))]
RATES = [5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2]


def settings_of(task, **changes):
    """Of a probe by the protocol, but for the changes."""
    return {"options": TASKS[task].settings(), "layers": LAYERS, "rates": RATES, "any_counts": False, **changes}


def probed(run, task, overlap=None, items=None, **settings):
    """Results of 50 % right, by the protocol but for these settings."""
    data = {"items": items or TASKS[task].counts}
    return write_task(run, task, 0.5, settings=settings_of(task, **settings), overlap=overlap, data=data)


def found(*items, of=290):
    return {"items": list(items), "test_items": of, "training_files": 1000, "unreadable": 0, "manifest_sha256": "a" * 64}


@pytest.mark.parametrize("task", TASKS)
def test_the_protocol_has_no_note(tmp_path, task):
    assert notes_of(probed(tmp_path, task)) == []
    assert "[1]" not in probe_table([tmp_path], published=())


def test_another_reading_is_marked_wherever_its_score_stands(tmp_path):
    probed(tmp_path / "mine", "GTZANBT", options={"tolerance_s": 0.02, "targets": "hard"})
    probed(tmp_path / "mine", "GTZAN")
    table = probe_table([tmp_path / "mine"])
    (row,) = lines_of(table, "| **mine**")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3:5] == ["50.0", "50.0 [1]"] and cells[-1] == "- (partial mean of 2: 50.0) [1]"
    assert "| 50.0 [1] |" in lines_of(table, "| mine | GTZANBT |")[0] and "[1]" not in lines_of(table, "| mine | GTZAN |")[0]
    assert lines_of(table, "- [1]") == ["- [1] GTZANBT: --option tolerance_s=0.02 for 0.07"]


def test_one_note_serves_two_runs_and_another_task_has_its_own(tmp_path):
    for name in ("one", "two"):
        probed(tmp_path / name, "EMO", options={"heard": "45s"})
        probed(tmp_path / name, "MUSDB18", options={"wiener": "none", "score_rate": 44_100})
    table = probe_table([tmp_path / "one", tmp_path / "two"])
    assert lines_of(table, "- [1]") == ["- [1] EMO: --option heard=45s for 30s"]
    assert lines_of(table, "- [2]") == ["- [2] MUSDB18: --option wiener=none for alone, score_rate=44100 for 24000"]
    assert all(line.count("[1]") == line.count("[2]") == 2 for line in lines_of(table, "| **")) and not lines_of(table, "- [3]")


def test_other_counts_are_said(tmp_path):
    probed(tmp_path / "mine", "MTT", any_counts=True, items={"train": 10, "valid": 5, "test": 5000})
    note = "MTT: --any-counts: 10, 5, 5,000 items of train, valid and test, 18,706, 1,825, 5,329 are published"
    assert lines_of(probe_table([tmp_path / "mine"]), "- [1]") == [f"- [1] {note}"]


def test_counts_that_were_right_all_the_same_are_not(tmp_path):
    assert notes_of(probed(tmp_path, "MTT", any_counts=True)) == []
    assert notes_of(probed(tmp_path, "VocalSetS", any_counts=True, items={"train": 1, "valid": 1, "test": 1})) == []  # none are published


def test_part_of_the_grid_is_said(tmp_path):
    few = probed(tmp_path, "GTZAN", layers=["7"], rates=[1e-3, 5e-5])
    assert notes_of(few) == ["GTZAN: --layers 7: 1 of 14 layers, --rates 0.001 5e-05: 2 of the 6 rates"]
    assert notes_of(probed(tmp_path, "MUSDB18", separation={"layer": 7})) == ["MUSDB18: --layers 7 for the sum of all"]
    assert notes_of(probed(tmp_path, "MUSDB18", separation={"layer": None})) == []


def test_what_was_heard_in_training_is_marked_and_what_was_not_looked_for_is_said(tmp_path):
    probed(tmp_path / "mine", "GTZAN", overlap=found("blues.00029", "pop.00001"))
    probed(tmp_path / "mine", "GS", overlap=found(of=604))
    probed(tmp_path / "mine", "EMO")
    table = probe_table([tmp_path / "mine"])
    assert lines_of(table, "- [1]") == ["- [1] GTZAN: 2 of 290 test items are in the training data of the encoder"]
    said = "- mine, test items in the training data of its encoder: found GS 0 of 604, GTZAN 2 of 290; not looked for EMO (--pretrained-on)"
    assert lines_of(table, "- mine") == [said]


@pytest.mark.parametrize("name", ["logmel", "random:mert_base:7"])
def test_an_encoder_without_training_has_heard_nothing(tmp_path, name):
    write_task(tmp_path / "mine", "GTZAN", 0.5, settings=settings_of("GTZAN"), name=name)
    said = "- mine, test items in the training data of its encoder: none, it was not trained"
    assert lines_of(probe_table([tmp_path / "mine"], published=()), "- mine") == [said]


def test_tasks_that_are_not_of_the_14_have_no_notes(tmp_path):
    write_task(tmp_path / "mine", "chords", 0.5, settings={"layers": ["0"], "rates": [0.1], "any_counts": True})
    table = probe_table([tmp_path / "mine"], published=())
    assert "[1]" not in table and "training data" not in table


def test_results_of_before_are_read(tmp_path):
    """Neither any_counts nor overlap is in them."""
    write_task(tmp_path, "GTZAN", 0.5, settings={"options": {}}, data={"items": {}})
    assert read_results(tmp_path / "GTZAN").overlap is None and notes_of(read_results(tmp_path / "GTZAN")) == []


def test_an_overlap_that_was_changed_is_refused(tmp_path):
    with pytest.raises(MertError, match="overlap without items"):
        write_task(tmp_path, "GTZAN", 0.5, overlap={"items": []})  # reads what it wrote
