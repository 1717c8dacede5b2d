"""Meters of speed: waits and steps are told apart, and add up over updates, workers and runs."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from fairseq.logging import metrics
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.tasks.fairseq_task import StatefulContainer

from mert_fairseq.tasks import throughput
from mert_fairseq.tasks.mert_pretraining import _matmul_dtype
from mert_fairseq.tasks.throughput import StepClock, Throughput


@pytest.fixture(autouse=True)
def fresh_meters(monkeypatch):
    metrics.reset()
    monkeypatch.setattr(throughput, "matmul_rate", lambda device, dtype: 1e9)
    yield
    metrics.reset()


def slow_batches(waits):
    for wait in waits:
        time.sleep(wait)
        yield wait


def test_waits_and_steps_are_told_apart():
    clock = StepClock()
    laps = []
    for _ in clock.time_waits(slow_batches([0.05, 0.0])):
        time.sleep(0.02)
        laps.append(clock.lap())
    assert laps[0]["waited"] >= 0.05 and laps[0]["worked"] >= 0.02
    assert laps[1]["waited"] < 0.05 and laps[1]["worked"] >= 0.02


def test_waits_of_an_updates_batches_add_up():
    clock = StepClock()
    assert list(clock.time_waits(slow_batches([0.03, 0.03]))) == [0.03, 0.03]
    assert clock.lap()["waited"] >= 0.06


def test_an_exhausted_or_failing_loader_ends_as_it_would():
    def failing():
        yield 1
        raise ValueError("damaged")

    clock = StepClock()
    assert list(clock.time_waits(iter([]))) == []
    with pytest.raises(ValueError, match="damaged"):
        list(clock.time_waits(failing()))


def test_meters_of_two_updates_and_two_workers():
    meter = Throughput(torch.device("cpu"), torch.float32, 2, StatefulContainer())
    outputs = [{"num_samples": 24_000, "flops": 1e9}, {"num_samples": 24_000, "flops": 1e9}]
    with metrics.aggregate("train_inner"):
        meter.log(outputs, {"waited": 0.5, "worked": 0.5})
        meter.log(outputs, {"waited": 0.0, "worked": 3.0})
    found = metrics.get_smoothed_values("train_inner")
    assert found["audio_s_per_s"] == 1.0  # 4 s of audio in 4 s
    assert found["mfu"] == 0.5  # 4 GFLOP in 4 s by two devices of 1 GFLOP/s
    assert found["data_wait"] == 0.125
    assert found["peak_mem_gb"] > 0.05
    assert not [key for key in found if key.startswith("_")]


def device_hours(state):
    """Of an update of 0.01 s on 3.6 million devices, in a run that starts from `state`."""
    metrics.reset()
    meter = Throughput(torch.device("cpu"), torch.float32, 3_600_000, state)
    with metrics.aggregate("train_inner"):
        time.sleep(0.01)
        meter.log([{}], {"waited": 0.0, "worked": 1.0})
    metrics.reset_meters("train_inner")  # as behind each line of the log
    return metrics.get_smoothed_values("train_inner")["device_hours"]


def test_device_hours_count_on_when_the_run_is_resumed():
    first_run, resumed = StatefulContainer(), StatefulContainer()
    first = device_hours(first_run)
    resumed.merge_state_dict(dict(first_run.state_dict))  # what a checkpoint keeps
    assert first >= 10 and device_hours(resumed) >= first + 10


def test_the_rate_of_matrix_products_is_of_this_machine(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(throughput.MATMUL_SIZE, "cpu", 256)
    assert 1e8 < throughput.matmul_rate(torch.device("cpu"), torch.float32) < 1e13


def test_memory_is_of_this_program_and_not_of_what_started_it():
    """Whose peak getrusage keeps over exec."""
    started = "import torch; from mert_fairseq.tasks.throughput import _peak_memory; print(_peak_memory(torch.device('cpu')))"
    parent = f"held = bytes(1 << 30); import os, sys; os.execv(sys.executable, [sys.executable, '-W', 'ignore', '-c', {started!r}])"
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout.split()[-1]) < 1 << 30


def test_memory_where_the_system_has_no_proc(monkeypatch):
    monkeypatch.setattr(throughput, "resident_bytes", lambda name: None)
    assert throughput._peak_memory(torch.device("cpu")) > 1 << 20


@pytest.mark.parametrize("device, own, amp, wanted", [
    ("cpu", torch.float32, True, torch.float32), ("cpu", torch.bfloat16, True, torch.bfloat16),
    ("cuda", torch.float32, True, torch.float16), ("cuda", torch.float32, False, torch.float32),
    ("cuda", torch.bfloat16, True, torch.bfloat16),
])
def test_the_peak_is_of_the_type_that_the_model_multiplies_in(device, own, amp, wanted):
    model = SimpleNamespace(matmul_dtype=lambda device: own)
    optimizer = object.__new__(AMPOptimizer) if amp else object()
    assert _matmul_dtype(model, optimizer, torch.device(device)) == wanted
