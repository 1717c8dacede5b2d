"""What the soak says of memory: the slope of samples, and of whom they are."""

import subprocess
import sys

import numpy as np
import pytest
from process_memory import MemoryWatch, slope

#: Fills so many MB, in a child of a child, and waits to be told to end.
PROGRAM = """
import os, sys
held = bytearray(int(sys.argv[1]) * 10**6)
held[::4096] = b"x" * len(held[::4096])
if len(sys.argv) > 2:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[2], *sys.argv[1:2]]) if os.fork() == 0 else None
print(flush=True)
sys.stdin.read()
"""


def test_a_leak_is_a_slope_and_peaks_are_none():
    rng = np.random.default_rng(0)
    hours = np.linspace(0, 1, 3600)
    steady = 900 + 5 * rng.standard_normal(3600)
    steady[::50] += 300  # a validation's processes
    assert abs(slope(list(zip(hours, steady)))) < 3
    assert slope(list(zip(hours, steady + 60 * hours))) == pytest.approx(60, abs=3)
    assert slope([]) == slope([(0.0, 900.0)]) == 0


def test_memory_is_of_all_processes_of_the_session():
    command = [sys.executable, "-c", PROGRAM, "100", PROGRAM]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True)
    for _ in range(2):
        process.stdout.readline()
    watch = MemoryWatch(process.pid, every_s=0.01)
    while not watch.samples:
        pass
    process.communicate()
    held = watch.stop()[0][1]
    assert 200 < held < 300
