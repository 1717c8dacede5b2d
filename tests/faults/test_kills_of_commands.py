"""SIGKILL at random moments of every command; the same command again leaves what an undisturbed one leaves, byte for byte."""

import random
import signal
import time

import pytest
from commands import NAMES, make, outputs

KILLS_IN_A_ROW = 4  # of the same command in the same folder, before it may finish
NOT_REPLACED = "exists and is not empty"  # said of what is whole: the kill came in the moment between the last step and the end


@pytest.mark.parametrize("name", NAMES)
def test_killed_and_given_again(faults, interpreter, data, tmp_path, name):
    command, chance = make(name, data), random.Random(name)
    for folder in ("first", "clean"):  # the first takes longer: everything is new to it
        begun = time.monotonic()
        started = interpreter.run(*command.argv(tmp_path / folder))
        assert started.code() == 0, started.text[-3000:]
        seconds = time.monotonic() - begun
    clean = outputs(tmp_path / "clean")
    assert outputs(tmp_path / "first") == clean, "two undisturbed runs differ"
    wanted, killed, attempts = faults.times(1 if name == "mert probe of beats" else 3, 20), 0, 0
    while killed < wanted:
        assert attempts < 3 * wanted, "it ends before it can be killed"
        out, attempts = tmp_path / f"attempt{attempts}", attempts + 1
        last, kills = kill_in_a_row(interpreter, command.argv(out), min(KILLS_IN_A_ROW, wanted - killed), seconds, chance)
        found = outputs(out) if last.code() == 0 or NOT_REPLACED in last.text else {}
        unlike = sorted(path for path in {*found, *clean} if found.get(path) != clean.get(path))
        for _ in range(kills):
            faults.record(f"SIGKILL: {name}", "lost" if unlike else "survived", f"{unlike}\n{last.text[-3000:]}")
        killed += kills


def kill_in_a_row(interpreter, argv, times, seconds, chance):
    """Kills the command at random moments, then lets it finish: (that, how many kills hit a living one)."""
    for killed in range(times):
        started = interpreter.start(*argv)
        time.sleep(chance.uniform(0, seconds))
        started.kill()
        if started.code() != -signal.SIGKILL:
            return started, killed
        started.until_all_ended()
    return interpreter.run(*argv), times
