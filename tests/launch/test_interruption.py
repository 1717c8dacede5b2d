"""Signals are noted, then handed on; children by fork outlive those of others."""

import os
import signal

import pytest
from interrupted_programs import run

from mert_fairseq.launch.interruption import INTERRUPTED, SIGNALS


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


@pytest.mark.parametrize(
    ("parent_lives", "error", "shown"),
    [(False, "ConnectionResetError()", False), (False, "EOFError()", False), (False, "ValueError()", True), (True, "EOFError()", True)],
)
def test_a_child_whose_parent_was_killed_is_silent_of_the_closed_connection(parent_lives, error, shown):
    result = run(f"""
        import threading
        interruption.listen()
        parent, (reader, writer) = os.getpid(), os.pipe()
        child = os.fork()
        if child:
            os.close(writer)
            if not {parent_lives}:
                os.kill(parent, signal.SIGKILL)
            sys.exit(os.read(reader, 1) == b"")  # until the child has ended
        threading.excepthook = lambda raised: sys.excepthook(*raised[:3])  # as the standard library's sharer of handles does
        def hang_up():
            time.sleep(0.1)
            raise {error}
        thread = threading.Thread(target=hang_up)
        thread.start()
        thread.join()
        os._exit(0)
    """)
    assert ("Traceback" in result.stderr) is shown, result.stderr


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


def test_signals_that_came_before_it_listened_are_noted_then():
    result = run("""
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR2, signal.SIGINT))
        os.kill(os.getpid(), signal.SIGUSR2)
        interruption.listen()
        print(int(interruption.received))
    """)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "12"), result.stderr
