"""A file that another takes the place of under a command: named, or heard as one of the two; the same command again is of the new one."""

import os

import numpy as np
import pytest
import soundfile
from commands import make, outputs
from test_vanished import victim

READERS = ("mert manifest", "mert features", "mert probe", "mert probe of beats")
#: Python that puts another file in the place of one when that has been opened for the `number`-th time.
REPLACE = """
import itertools, os, soundfile
opened, opens = soundfile.SoundFile.__init__, itertools.count()
def replacing(sound, file, *given, **named):
    if {name!r} in str(file) and next(opens) == {number} and os.path.exists({other!r}):
        os.replace({other!r}, {path!r})
    opened(sound, file, *given, **named)
soundfile.SoundFile.__init__ = replacing
"""


def kept(out):
    """What a command leaves: of a probe its scores, as features of files that are no longer there stay in its cache."""
    return {name: text for name, text in outputs(out).items() if not name.startswith("cache/")}


@pytest.fixture
def played(data, name):
    """A file that the command reads; it comes back afterwards."""
    path = victim(data, name)
    text, state = path.read_bytes(), path.stat()
    yield path
    path.write_bytes(text)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("name", READERS)
def test_under_a_command(faults, interpreter, data, tmp_path, name, played):
    command, other = make(name, data), data / "other.wav"
    for number in range(faults.times(2, 4)):
        out = tmp_path / str(number)
        wave, rate = soundfile.read(played)
        soundfile.write(other, np.flip(wave, 0), rate)
        replace = REPLACE.format(name=played.name, number=number, path=str(played), other=str(other))
        started = interpreter.run(*command.argv(out), before=replace)
        if other.exists():  # never opened that often
            other.unlink()
            break
        report = out / "manifest" / "report.tsv"
        named = played.name in started.text or (report.exists() and played.name in report.read_text())
        again = interpreter.run(*command.argv(out))
        assert interpreter.run(*command.argv(tmp_path / f"clean{number}")).code() == 0
        whole = again.code() == 0 and kept(out) == kept(tmp_path / f"clean{number}")
        outcome = "refused" if named else "survived" if started.code() == 0 else "silent"
        outcome = "traceback" if "Traceback" in started.text else outcome if whole else "lost"
        faults.record(f"replaced file: {name}", outcome, f"{started.text[-2000:]}\n{again.text[-2000:]}")
    assert number, "the first time it was opened"
