"""A file that vanishes under a command: it is named, nothing of the others is lost, and once it is back the same command completes."""

import pytest
import small_training
from commands import make, outputs

READERS = ("mert manifest", "mert labels encodec", "mert labels cqt", "mert features", "mert probe", "mert probe of beats")
#: Python that hides a file when it has been opened for the `number`-th time, by this process or one that it forks.
HIDE = """
import itertools, os, soundfile
opened, opens = soundfile.SoundFile.__init__, itertools.count()
def hiding(sound, file, *given, **named):
    if {name!r} in str(file) and next(opens) == {number} and os.path.exists({path!r}):
        os.rename({path!r}, {aside!r})
    opened(sound, file, *given, **named)
soundfile.SoundFile.__init__ = hiding
"""


def victim(data, name):
    """An audio file that the command reads."""
    if "probe" in name:
        return sorted(path for path in (data / ("GTZANBT" if "beats" in name else "GTZAN")).rglob("*.wav"))[1]
    return data / "music" / "10.wav"


@pytest.mark.parametrize("name", READERS)
def test_under_a_command(faults, interpreter, data, tmp_path, name):
    command, path, aside = make(name, data), victim(data, name), data / "aside"
    assert interpreter.run(*command.argv(tmp_path / "clean")).code() == 0
    clean = outputs(tmp_path / "clean")
    for number in range(faults.times(1, 2)):
        out = tmp_path / str(number)
        hide = HIDE.format(name=path.name, number=number, path=str(path), aside=str(aside))
        started = interpreter.run(*command.argv(out), before=hide)
        assert aside.exists(), "never opened that often"
        aside.rename(path)
        reported = out / "manifest" / "report.tsv"
        named = path.name in started.text or (reported.exists() and path.name in reported.read_text())
        again = interpreter.run(*command.argv(out))
        whole = again.code() == 0 and outputs(out) == clean
        outcome = "silent" if not named else "refused" if started.code() else "survived"
        outcome = "traceback" if "Traceback" in started.text else outcome if whole else "lost"
        faults.record(f"vanished file: {name}", outcome, f"{started.text[-2000:]}\n{again.text[-2000:]}")


@pytest.mark.parametrize("allowed", [0, 1])
@pytest.mark.parametrize("workers", [0, 2])
def test_in_mid_epoch(faults, interpreter, training_corpus, tmp_path, allowed, workers):
    """Not allowed, it stops training with the file's name and the last checkpoint whole; allowed, it is counted and listed."""
    run_dir, go, path = tmp_path / "run", tmp_path / "go", training_corpus / "audio" / "train3.flac"
    command = small_training.train(training_corpus, run_dir, f"dataset.num_workers={workers}")
    started = interpreter.start(*command, f"task.max_bad_files={allowed}", before=small_training.held_after(6, go))
    try:
        started.until(lambda: small_training.reached(run_dir, 6), "update")
        path.rename(tmp_path / "aside")
        go.touch()
        code = started.code()
    finally:
        (tmp_path / "aside").rename(path)
    named = "train3.flac" in started.text
    if allowed:
        outcome = "survived" if code == 0 and "1 damaged files left out so far: " in started.text and named else "silent"
    else:
        again = interpreter.run(*command)
        undisturbed = interpreter.run(*small_training.train(training_corpus, tmp_path / "undisturbed"))
        assert undisturbed.code() == again.code() == 0, again.text[-3000:]
        same = small_training.result(run_dir) == small_training.result(tmp_path / "undisturbed")
        outcome = "silent" if code != 1 or not named else "refused" if same else "lost"
    outcome = "traceback" if "Traceback" in started.text else outcome
    faults.record("vanished file: training", outcome, started.text[-3000:])
