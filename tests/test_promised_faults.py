"""The table of injected faults: a promise that was not kept is named, and what was skipped was not injected."""

import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

FAULTS = Path(__file__).with_name("faults")
sys.path.insert(0, str(FAULTS))

import promised  # noqa: E402
from outcomes import SKIPPED, read_counts, read_injected, table, write_outcome  # noqa: E402


def test_too_few_are_named():
    kept = dict(promised.LEAST)
    assert promised.missing(kept, in_all=1) == []
    for name, number in promised.LEAST.items():
        assert promised.missing({**kept, name: number - 1}, in_all=1) == [f"{name}: promised {number}, injected {number - 1}"]
    assert promised.missing({"a": 3, "b / x": 1, "b / y": 1}, {"a": 3, "b": 2, "b / y": 1}, 6) == ["in all: promised 6, injected 5"]


def test_a_second_try_does_not_undo_what_was_lost():
    kept = {}
    cache = SimpleNamespace(get=kept.get, set=kept.__setitem__)  # pytest's has no length, and so is true
    first, second = {"kill": Counter(survived=5, lost=1), "disk": Counter(refused=2)}, {"kill": Counter(survived=6)}
    assert promised.standing(cache, first, again=False) == promised.standing(cache, second, again=True) == ["lost: 1, must be 0"]
    assert promised.standing(cache, second, again=False) == promised.standing(cache, second, again=True) == []
    assert promised.standing(None, first, again=True) == ["lost: 1, must be 0"]


def test_every_promise_is_of_a_fault_that_is_recorded():
    """By the first words of its name: the rest is filled in."""
    sources = "".join(path.read_text(encoding="utf-8") for path in FAULTS.glob("test_*.py"))
    assert [name for name in promised.LEAST if name.partition(":")[0].split()[0] not in sources] == []


def test_what_is_skipped_stands_in_the_table(tmp_path):
    path = tmp_path / "faults.jsonl"
    for outcome in ("refused", "survived", SKIPPED):
        write_outcome(path, "disk", outcome, "small")
    write_outcome(path, "clock", SKIPPED)
    assert read_injected(path) == Counter({"disk / small": 2})
    assert [line.split() for line in table(read_counts(path))][1:] == [
        ["clock", *"0000001"], ["disk", *"2110001"], ["all", *"2110002"],
    ]  # fmt: skip
