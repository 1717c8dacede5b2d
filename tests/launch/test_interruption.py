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


def test_the_first_ctrl_c_is_noted_and_ends_with_130():
    result = run("""
        interruption.listen()
        interruption.save_on_ctrl_c(tell=lambda: print("told", flush=True))
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.received == signal.SIGINT
        interruption.hand_on()
    """)
    noted, told, saved = result.stdout.splitlines()
    assert (result.returncode, told, result.stderr) == (130, "told", "")
    assert "a checkpoint is saved after this update" in noted and "the checkpoint is saved, the same command goes on" in saved


@pytest.mark.parametrize("times", [1, 2], ids=["before training", "the second"])
def test_ctrl_c_ends_the_process_and_its_children_at_once(times):
    result = run(f"""
        import multiprocessing
        interruption.listen()
        if {times} == 2:
            interruption.save_on_ctrl_c()
        multiprocessing.get_context("fork").Process(target=lambda: (time.sleep(3), print("lives on"))).start()
        for _ in range({times}):
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(6)
    """)
    assert (result.returncode, result.stderr, len(result.stdout.splitlines())) == (130, "", times)
    assert "lives on" not in result.stdout


def test_a_process_that_another_started_leaves_ctrl_c_to_it_while_it_lives():
    result = run("""
        read, write = os.pipe()
        starter = os.fork()
        if starter == 0:
            parent = os.getpid()
            if os.fork() == 0:
                interruption.listen(starter=parent)
                os.kill(os.getpid(), signal.SIGINT)
                interruption.save_on_ctrl_c()
                os.write(write, b"lives on;")
                while os.getppid() == parent:
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGINT)
                os.write(write, str(interruption.received).encode())
                os._exit(0)
            time.sleep(0.5)
            os._exit(0)
        os.waitpid(starter, 0)
        os.close(write)
        print(b"".join(iter(lambda: os.read(read, 100), b"")).decode(), flush=True)
    """)
    assert result.stdout.splitlines()[-1] == "lives on;2", result.stderr


def test_forked_children_do_not_hear_ctrl_c():
    result = run("""
        interruption.listen()
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert (result.stdout, result.stderr) == ("7\n", "")


def test_a_command_in_the_background_of_a_script_keeps_ignoring_ctrl_c():
    result = run("""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interruption.listen()
        os.kill(os.getpid(), signal.SIGINT)
        print(interruption.received)
    """)
    assert (result.returncode, result.stdout) == (0, "None\n")


def test_signals_that_came_before_it_listened_are_noted_then():
    result = run("""
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR2, signal.SIGINT))
        os.kill(os.getpid(), signal.SIGUSR2)
        interruption.listen()
        print(int(interruption.received))
    """)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "12"), result.stderr
