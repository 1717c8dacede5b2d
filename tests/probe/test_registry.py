"""The 14 rows: complete, consistent, told to the user, and with the other reading of what sources disagree on."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from mert_fairseq.errors import MertError
from mert_fairseq.probe.beat_examples import BeatSettings
from mert_fairseq.probe.listing import listing
from mert_fairseq.probe.metrics import score
from mert_fairseq.probe.published import TASKS as PUBLISHED
from mert_fairseq.probe.registry import TASKS, task_named
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.task import KINDS, Hearing


def test_the_14_tasks_in_the_order_of_the_table():
    wanted = "MTT GS GTZAN GTZANBT EMO NSynthI NSynthP VocalSetS VocalSetT MTGInstrument MTGMood MTGGenre MTGTop50 MUSDB18"
    assert list(TASKS) == wanted.split()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_row_is_complete(task):
    assert task.kind in KINDS
    assert set(task.counts) in ({"train", "valid", "test"}, set())
    assert all([task.dataset.licence, task.dataset.size, task.dataset.where, task.dataset.layout, task.title, task.choices])
    assert task.hearing.window_s >= 5 and task.hearing.least_s <= task.hearing.window_s
    read_keywords = inspect.signature(task.read).parameters
    for option in task.options:
        assert len(option.values) > 1 and option.about and option.of in ("data", "hearing", "score", "head")
        if option.of == "data":
            assert read_keywords[option.name].default == option.values[0]
        assert set(option.hearings) == (set(option.values) if option.of == "hearing" else set())


#: Two items' references and perfect estimates, and the names that the metrics of each kind are told.
PERFECT = {
    "classes": (np.array([0, 1]), np.eye(2)),
    "tags": (np.eye(2), np.eye(2)),
    "values": (np.array([[0, 1], [1, 0.0]]), np.array([[0, 1], [1, 0.0]])),
    "beats": (np.array([4, 4]), np.array([[4, 4], [4, 4]])),
    "stems": (np.zeros((2, 4)), np.ones((2, 4))),
}
NAMES = {
    "values": ("arousal", "valence"),
    "stems": ("vocals", "drums", "bass", "other"),
    "classes": ("C major", "D minor"),
    "tags": ("a", "b"),
    "beats": ("beat",),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_metrics_are_ones_that_are_known(task):
    reference, estimate = PERFECT[task.kind]
    for name in (*task.metrics, task.monitor):
        assert score(name, reference, estimate, NAMES[task.kind]) == 1
    assert task.metrics == PUBLISHED[task.name]


def test_totals_that_the_datasets_publish():
    """25,863 clips less 3 empty ones; 744 songs of Emomusic; 305,979 notes; 150 songs; 929 of the 930 fault-filtered clips."""
    totals = {name: sum(task.counts.values()) for name, task in TASKS.items()}
    assert (totals["MTT"], totals["EMO"], totals["NSynthI"], totals["MUSDB18"], totals["GTZAN"]) == (25860, 744, 305979, 150, 929)


def test_options_have_the_published_reading_first():
    assert TASKS["GTZANBT"].settings() == {"tolerance_s": 0.07, "targets": "hard"}
    assert TASKS["GTZANBT"].settings({"tolerance_s": "0.02"}) == {"tolerance_s": 0.02, "targets": "hard"}
    assert TASKS["EMO"].heard() == Hearing(window_s=5, first_s=30) == TASKS["EMO"].hearing
    assert TASKS["EMO"].heard({"heard": "slices"}) == Hearing(window_s=15, least_s=12)
    assert TASKS["VocalSetT"].settings_of("data", {"validation": "singer"}) == {
        "remainder": "drop",
        "leading_silence": "cut",
        "validation": "singer",
    }
    assert TASKS["MUSDB18"].settings_of("head") == {"bidirectional": False, "stored_mixes": False}
    assert TASKS["MUSDB18"].settings_of("data") == {}
    assert TASKS["MUSDB18"].settings_of("head", {"bidirectional": "true"}) == {"bidirectional": True, "stored_mixes": False}
    assert TASKS["MUSDB18"].settings_of("score", {"score_rate": "44100"}) == {"wiener": "alone", "score_rate": 44_100}
    for name, settings in (("MUSDB18", SeparationSettings), ("GTZANBT", BeatSettings)):
        task = TASKS[name]
        assert settings(**task.settings_of("head"), **task.settings_of("score")) == settings()
        for option in task.options:
            for value in option.values:
                assert getattr(settings(**{option.name: value}), option.name) == value


def test_separation_has_its_numbers_from_one_source():
    settings, row = SeparationSettings(), TASKS["MUSDB18"]
    assert row.hearing.window_s == settings.chunk_s == 6
    assert not row.head.standardized  # a matter of windows alone
    shared = {name: value for name, value in vars(row.head).items() if name != "standardized"}
    assert all(getattr(settings, name) == value for name, value in shared.items()) and row.head.batch == 32


@pytest.mark.parametrize("given, words", [({"tolerance_s": 0.05}, "0.07, 0.02 allowed"), ({"tolerance": 0.07}, "it has tolerance_s")])
def test_options_that_are_not_known(given, words):
    with pytest.raises(MertError, match=words):
        TASKS["GTZANBT"].settings(given)


def test_counts_are_those_of_the_options():
    assert TASKS["MTGMood"].expected() == {"train": 9949, "valid": 3802, "test": 4231}
    assert TASKS["MTGMood"].expected({"split": "0"}) == TASKS["MTGMood"].counts
    assert TASKS["MTGMood"].expected({"split": 1}) == {}


def test_the_list_tells_what_a_user_needs():
    text = listing()
    for task in TASKS.values():
        paragraph = next(part for part in text.split("\n\n") if part.startswith(f"{task.name}: "))
        for line in task.dataset.layout.split("\n"):
            assert line.strip() in paragraph
        for words in (task.dataset.licence, task.dataset.where, *task.metrics, *(f"{count:,}" for count in task.counts.values())):
            assert words in paragraph
        for option in task.options:
            assert f"{option.name}={'|'.join(map(str, option.values))}" in paragraph
    assert not any(line != line.rstrip() for line in text.split("\n"))


def test_tasks_by_name():
    assert task_named("gtzanbt") is TASKS["GTZANBT"]
    with pytest.raises(MertError, match="MUSDB18 wanted; `mert probe --list`"):
        task_named("GTZANBeat")


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(MertError, match="no such folder; get EMO from cvml.unige.ch"):
        TASKS["EMO"].load(Path(tmp_path / "nothing"))
