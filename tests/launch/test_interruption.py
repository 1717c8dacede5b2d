"""Signals are noted, then handed on; children by fork outlive those of others."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from mert_fairseq.launch import interruption as interruption_module
from mert_fairseq.launch.interruption import INTERRUPTED, SIGNALS

# The module alone, as a file: the package's import takes seconds.
BEGIN = f"""
    import logging, os, runpy, signal, sys, time
    logging.basicConfig(stream=sys.stdout)
    interruption = runpy.run_path({interruption_module.__file__!r})["Interruption"]()
"""


def run(program):
    """Runs a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_the_process_ends_when_it_says_so(number):
    result = run(f"""
        interruption.listen()
        os.kill(os.getpid(), {int(number)})
        print(interruption.received, flush=True)
        interruption.hand_on()
    """)
    said, received = result.stdout.splitlines()
    assert (result.returncode, received) == (INTERRUPTED, str(int(number)))
    assert f"{number.name}: a checkpoint is saved after this update" in said


def test_the_first_signal_counts_and_nothing_is_noted_without_one():
    result = run("""
        interruption.listen()
        assert interruption.received is None
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert interruption.received == signal.SIGUSR2
    """)
    assert result.returncode == 0, result.stderr


def test_the_handler_of_before_gets_its_signal():
    result = run("""
        signal.signal(signal.SIGUSR2, lambda *_: sys.exit(7))
        interruption.listen()
        os.kill(os.getpid(), signal.SIGUSR2)
        print("saved", flush=True)
        interruption.hand_on()
    """)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (7, "saved")


def test_where_another_process_was_signalled_the_handler_is_left_alone():
    result = run("""
        signal.signal(signal.SIGUSR2, lambda *_: sys.exit(7))
        interruption.listen()
        interruption.hand_on()
    """)
    assert result.returncode == INTERRUPTED


def test_forked_children_outlive_others_signals_and_die_of_their_parents():
    result = run("""
        interruption.listen()
        child = os.fork()
        if child == 0:
            while True:
                time.sleep(0.05)
        time.sleep(0.3)
        stranger = "import os, sys; [os.kill(int(sys.argv[1]), number) for number in (10, 12, 15)]"
        import subprocess
        subprocess.run([sys.executable, "-c", stranger, str(child)], check=True)
        time.sleep(0.3)
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "died of a stranger's signal"
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(child, 0) == (child, 0)
    """)
    assert result.returncode == 0, result.stderr


def test_exit_code_is_no_other_end():
    assert INTERRUPTED not in (0, 1, 2, 130) and INTERRUPTED < 128 and os.EX_SOFTWARE != INTERRUPTED
    assert {signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2} == set(SIGNALS)


def test_once_training_is_over_a_late_signal_changes_nothing():
    result = run("""
        signal.signal(signal.SIGUSR1, lambda *_: print("theirs", flush=True))
        interruption.listen()
        interruption.end()
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            os.kill(os.getpid(), number)
    """)
    assert (result.returncode, result.stdout) == (0, "theirs\n")
