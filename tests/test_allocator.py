"""What is told to the C library's allocator, and what the environment keeps it from being told."""

import weakref
from types import SimpleNamespace

import pytest

from mert_fairseq import allocator


@pytest.fixture
def told(monkeypatch):
    calls = {}
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=calls.__setitem__))
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    for variable in (*allocator.KEEP, allocator.SWITCH):
        monkeypatch.delenv(variable, raising=False)
    return calls


def test_freed_memory_is_kept(told):
    assert allocator.keep_freed_memory()
    assert told[allocator.M_TRIM_THRESHOLD] == -1 and told[allocator.M_MMAP_MAX] == 0


def test_what_the_environment_sets_stands(told, monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    assert allocator.keep_freed_memory()
    assert allocator.M_MMAP_MAX not in told and allocator.M_TRIM_THRESHOLD in told


def test_it_can_be_switched_off(told, monkeypatch):
    monkeypatch.setenv(allocator.SWITCH, "0")
    assert not allocator.keep_freed_memory() and not told


class Cycle:
    """What only the garbage collector frees."""


def test_what_is_free_is_given_back(monkeypatch):
    trimmed = []
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=lambda pad: trimmed.append(pad) or 1))
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.delenv(allocator.SWITCH, raising=False)
    in_cycle = Cycle()
    in_cycle.itself, gone = in_cycle, weakref.ref(in_cycle)
    del in_cycle
    assert gone() is not None
    assert allocator.give_back_freed_memory() and trimmed == [0] and gone() is None
    monkeypatch.setenv(allocator.SWITCH, "0")
    assert not allocator.give_back_freed_memory() and trimmed == [0]


def test_without_glibc_nothing_happens(told, monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not allocator.keep_freed_memory()
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_freed_memory() and not allocator.give_back_freed_memory()
