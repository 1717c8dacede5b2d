"""`mert probe check`: what is wrong with a dataset is said before hours are spent on it, in one line with the file and what mends it."""

import dataclasses

import numpy as np
import pytest
from miniatures import build

from mert_fairseq.errors import MertError
from mert_fairseq.probe.data_check import check, check_items, label_fault
from mert_fairseq.probe.items import BeatTimes, Item, TaskData
from mert_fairseq.probe.registry import TASKS


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_miniature_has_everything_but_the_published_counts(task, tmp_path):
    data = build(task.name, tmp_path)
    report = check(task, data)
    if task.counts:
        assert len(report.problems) == 3 and all("published" in problem and "--any-counts" in problem for problem in report.problems)
    report = check(task, data, any_counts=True)
    assert report.problems == []
    assert [line.split(":")[0] for line in report.lines[:3]] == ["train", "valid", "test"]
    assert any("files can be read" in line for line in report.lines)


def test_the_published_counts_pass(tmp_path):
    task = dataclasses.replace(TASKS["EMO"], counts={"train": 4, "valid": 4, "test": 4})
    report = check(task, build("EMO", tmp_path))
    assert report.problems == [] and report.lines[0] == "train: 4 items, 4 published"
    report.raise_if_bad()


def test_progress_counts_files_once(tmp_path):
    told = []
    check(TASKS["VocalSetS"], build("VocalSetS", tmp_path), threads=3, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 41) for number in range(1, 42)]  # 40 recordings and the mended one, of more chunks


def problems(task, data, **settings):
    report = check(TASKS[task], data, any_counts=True, **settings)
    assert all("\n" not in problem for problem in report.problems)
    return report.problems


def test_a_missing_annotation_file(tmp_path):
    data = build("EMO", tmp_path)
    (data / "songs_info.csv").unlink()
    (problem,) = problems("EMO", data)
    assert "songs_info.csv" in problem and "cvml.unige.ch" in problem


def test_audio_that_is_missing_damaged_and_cut_off(tmp_path):
    data = build("NSynthI", tmp_path)
    missing, damaged, cut = sorted((data / "nsynth-train" / "audio").iterdir())[:3]
    missing.unlink()
    damaged.write_bytes(b"RIFF no audio at all")
    cut.write_bytes(cut.read_bytes()[:2000])
    found = problems("NSynthI", data)
    assert len(found) == 3 and all("get NSynth from magenta.tensorflow.org" in problem for problem in found)
    for path, word in ((missing, "no such file"), (damaged, "cannot be opened"), (cut, "cut short")):
        assert sum(str(path) in problem and word in problem for problem in found) == 1


def test_many_unreadable_files_are_counted(tmp_path):
    data = build("MTT", tmp_path)
    for path in data.glob("mp3/c/*.mp3"):
        path.write_bytes(b"")
    for path in list(data.glob("mp3/[0-9ab]/*number*.mp3")) + list(data.glob("mp3/[def]/*.mp3")):
        path.unlink()
    found = problems("MTT", data)
    assert len(found) == 6 and "7 more files cannot be read" in found[-1]


def test_an_empty_split(tmp_path):
    data = build("NSynthI", tmp_path)
    (data / "nsynth-valid" / "examples.json").write_text("{}")
    (problem,) = problems("NSynthI", data)
    assert "no item in valid" in problem and "magenta" in problem


def test_an_empty_split_says_how_splits_are_told_apart(tmp_path):
    data = build("EMO", tmp_path)
    (path,) = data.rglob("songs_info.csv")
    path.write_text(path.read_text().replace("evaluation", "development"))
    (problem,) = problems("EMO", data)
    assert "no item in test" in problem and '"evaluation" in the column "Mediaeval 2013 set" of songs_info.csv' in problem


def test_a_track_in_two_splits(tmp_path):
    data = build("GTZAN", tmp_path)
    with open(data / "test_filtered.txt", "a") as handle:
        handle.write("blues/blues.00029.wav\n")
    found = problems("GTZAN", data)
    assert len(found) == 2 and "twice, e.g. blues.00029" in found[0] and "in train and in test" in found[1]


def test_a_label_outside_the_set(tmp_path):
    data = build("GTZAN", tmp_path)
    (data / "train_filtered.txt").write_text("polka/polka.00001.wav\n")
    (problem,) = problems("GTZAN", data)
    assert "'polka'" in problem and "train_filtered.txt" in problem


def test_strange_lengths_and_absent_classes_are_warnings(tmp_path):
    report = check(TASKS["NSynthI"], build("NSynthI", tmp_path), any_counts=True)
    assert any("3.9 to 4.1 s" in warning and "2.0 s" in warning for warning in report.warnings)
    assert any(warning.startswith("test: no item of 8 of 11 classes, e.g. bass") for warning in report.warnings)


@pytest.mark.parametrize("absent, said", [("synth_lead", []), ("organ", ["test: no item of 1 of 11 classes: organ"])])
def test_a_class_that_no_published_test_item_has_is_not_missed(tmp_path, absent, said):
    task = TASKS["NSynthI"]
    classes = task.load(build("NSynthI", tmp_path)).classes
    there = {"train": classes, "valid": classes, "test": [name for name in classes if name not in (absent, "synth_lead")]}
    items = [Item(f"{split}{name}", tmp_path / f"{split}{name}", split, classes.index(name)) for split in there for name in there[split]]
    assert check_items(task, TaskData(items, classes), any_counts=True).warnings[3:] == said


def test_tags_without_a_score_are_a_warning(tmp_path):
    data = build("MTGMood", tmp_path)
    path = data / "mtg-jamendo-dataset" / "data" / "splits" / "split-0" / "autotagging_moodtheme-test.tsv"
    path.write_bytes(path.read_bytes().replace(b"mood/theme---film", b"mood/theme---happy"))
    warnings = check(TASKS["MTGMood"], data, any_counts=True).warnings
    assert any("1 of 3 tags" in warning and "film" in warning for warning in warnings)


def test_an_item_beyond_the_end_of_its_file(tmp_path):
    data = build("NSynthI", tmp_path)
    task = TASKS["NSynthI"]
    found = task.load(data)
    late = dataclasses.replace(found.items[0], name="late", start_s=1.0, stop_s=9.0)
    changed = dataclasses.replace(task, read=lambda _: TaskData([*found.items, late], found.classes))
    (problem,) = check(changed, data, any_counts=True).problems
    assert "2.0 s long, but late is 1.0 s to 9.0 s" in problem


def test_options_without_known_counts_are_not_held_to_the_default_ones(tmp_path):
    report = check(TASKS["MTT"], build("MTT", tmp_path), {"untagged": "drop"})
    assert report.problems == [] and report.lines[0] == "train: 4 items, no published count"


def test_an_option_that_is_not_known(tmp_path):
    (problem,) = problems("MTT", build("MTT", tmp_path), options={"tags": "all"})
    assert "tags=all" in problem and "untagged" in problem


def test_the_first_problem_is_raised_and_the_others_counted(tmp_path):
    task, data = TASKS["GTZAN"], build("GTZAN", tmp_path)
    report = check_items(task, task.load(data))
    with pytest.raises(MertError, match=r"train has 5 items, 442 are published.*\(and 2 more: `mert probe check`\)$"):
        report.raise_if_bad()


@pytest.mark.parametrize(
    "kind, label, right",
    [
        ("classes", 2, True),
        ("classes", 3, False),
        ("classes", -1, False),
        ("classes", 1.0, False),
        ("tags", np.array([0, 1, 1.0]), True),
        ("tags", np.array([0, 1, 2.0]), False),
        ("tags", np.array([0, 1.0]), False),
        ("values", np.array([0.1, -3, 2.0]), True),
        ("values", np.array([0.1, np.nan, 2.0]), False),
        ("beats", BeatTimes(np.array([0.1, 0.2]), np.zeros(0)), True),
        ("beats", BeatTimes(np.array([0.2, 0.1]), np.zeros(0)), False),
        ("beats", BeatTimes(np.zeros(0), np.zeros(0)), False),
        ("beats", BeatTimes(np.array([-0.1, 0.1]), np.zeros(0)), False),
        ("stems", 1, False),
    ],
)
def test_labels_of_each_kind(kind, label, right, tmp_path):
    assert (label_fault(kind, Item("a", tmp_path, "train", label), 3) == "") == right
