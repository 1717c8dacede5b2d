"""Ctrl-C: noted once, the second ends at once; neither children nor what another started hear it."""

import pytest
from interrupted_programs import run


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
