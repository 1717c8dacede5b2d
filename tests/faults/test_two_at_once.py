"""Two commands started in one folder at once: the second refuses, waits or shares the work, and nothing is mixed."""

import signal

import numpy as np
import pytest
import small_training
import soundfile
from forked import group_of

from mert_fairseq.frames import SAMPLE_RATE

#: What holds a command up until the file GO is there.
HOLD = "import os, time\nhold = lambda: [time.sleep(0.01) for _ in iter(lambda: os.path.exists({go!r}), True)]\n"


@pytest.fixture(scope="module")
def undisturbed(interpreter, training_corpus, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    started = interpreter.run(*small_training.train(training_corpus, run_dir))
    assert started.code() == 0, started.text[-3000:]
    return small_training.result(run_dir)


def test_a_second_training_refuses_and_the_first_does_not_notice(faults, interpreter, training_corpus, undisturbed, tmp_path):
    run_dir, go = tmp_path / "run", tmp_path / "go"
    command = small_training.train(training_corpus, run_dir)
    first = interpreter.start(*command, before=small_training.held_after(7, go))
    first.until(lambda: small_training.reached(run_dir, 7), "update")
    for _ in range(faults.times(1, 3)):
        second = interpreter.run(*command)
        lines = [line for line in second.text.splitlines() if f"checkpoints: in use by process {first.process} on " in line]
        told = len(lines) == 1 and "give another hydra.run.dir" in lines[0]
        outcome = "traceback" if "Traceback" in second.text else "refused" if second.code() == 1 and told else "silent"
        faults.record("two at once: training", outcome, second.text[-3000:])
    go.touch()
    assert first.code() == 0 and small_training.result(run_dir) == undisturbed


def test_a_restarted_job_waits_for_the_start_before_and_goes_on(faults, interpreter, training_corpus, undisturbed, tmp_path):
    """As where Slurm took a node for lost whose processes are still there."""
    run_dir, go = tmp_path / "run", tmp_path / "go"
    command = small_training.train(training_corpus, run_dir)
    first = interpreter.start(*command, before=small_training.held_after(7, go))
    first.until(lambda: small_training.reached(run_dir, 7), "update")
    second = interpreter.start(*command, before="import os\nos.environ['SLURM_RESTART_COUNT'] = '1'")
    second.until(lambda: "waiting for it" in second.text, "wait")
    first.kill(signal.SIGTERM)
    go.touch()
    assert second.code() == 0, second.text[-3000:]
    same = small_training.result(run_dir) == undisturbed
    faults.record("two at once: requeued training", "survived" if same else "lost", second.text[-3000:])


def test_a_killed_trainings_loaders_do_not_keep_its_folder(faults, interpreter, training_corpus, undisturbed, tmp_path):
    """They live on for seconds."""
    run_dir = tmp_path / "run"
    command = small_training.train(training_corpus, run_dir, "dataset.num_workers=2")
    first = interpreter.start(*command, before=small_training.held_after(7))
    first.until(lambda: small_training.reached(run_dir, 7), "update")
    first.kill()
    assert first.code() == -signal.SIGKILL and len(group_of(first.process)) >= 2
    second = interpreter.run(*command)
    same = second.code() == 0 and small_training.result(run_dir) == undisturbed
    faults.record("two at once: loaders of a killed training", "survived" if same else "lost", second.text[-3000:])
    first.until_all_ended()


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(8):
        wave = 0.1 * np.random.default_rng(number).standard_normal(SAMPLE_RATE)
        soundfile.write(folder / f"{number:02}.wav", wave, SAMPLE_RATE)
    return folder


def test_a_second_manifest_refuses(faults, interpreter, music, tmp_path):
    """Else one could write the training split and another, of other music or settings, the held-out one."""
    out, go = tmp_path / "manifest", tmp_path / "go"
    command = ["mert", "manifest", music, out, "--valid-percent", "40", "--min-seconds", "0.5", "--workers", "1"]
    held = HOLD.format(go=str(go)) + "from mert_fairseq.data import scan\nwrite = scan.write_manifest\n"
    held += "scan.write_manifest = lambda *given: (write(*given), hold())"
    first = interpreter.start(*command, before=held)
    first.until(lambda: (out / "train.tsv").exists(), "manifest")
    for _ in range(faults.times(1, 5)):
        second = interpreter.run(*command[:-4], "--min-seconds", "0.9")
        refused = second.code() == 1 and second.text.startswith(f"mert: {out}: in use by process {first.process} on ")
        faults.record("two at once: mert manifest", "refused" if refused and second.text.count("\n") == 1 else "silent", second.text)
    go.touch()
    assert first.code() == 0, first.text
    assert interpreter.run(*command).code() == 0
