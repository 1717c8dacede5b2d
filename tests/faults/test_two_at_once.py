"""Two commands started in one folder at once: the second refuses, waits or shares the work, and nothing is mixed."""

import signal

import numpy as np
import pytest
import small_training
import soundfile
from commands import make, outputs
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
    before = contents(run_dir)
    for _ in range(faults.times(1, 3)):
        second = interpreter.run(*command, "model.dropout=0.2")
        refused = second.code() == 1 and told(second.text, f"{run_dir}/.hydra: in use by process {first.process} on ")
        outcome = "traceback" if "Traceback" in second.text else "refused" if refused else "silent"
        faults.record("two at once: training", outcome, second.text[-3000:])
        assert contents(run_dir) == before  # its settings and its log, too
    go.touch()
    assert first.code() == 0 and small_training.result(run_dir) == undisturbed


def test_a_second_training_into_the_same_checkpoints_refuses(faults, interpreter, training_corpus, tmp_path):
    save_dir, go = tmp_path / "checkpoints", tmp_path / "go"
    commands = [small_training.train(training_corpus, tmp_path / name, f"checkpoint.save_dir={save_dir}") for name in ("run", "other")]
    first = interpreter.start(*commands[0], before=small_training.held_after(7, go))
    first.until(lambda: small_training.reached(tmp_path / "run", 7), "update")
    before = contents(save_dir)
    second = interpreter.run(*commands[1])
    refused = second.code() == 1 and told(second.text, f"{save_dir}: in use by process {first.process} on ")
    faults.record("two at once: checkpoints", "refused" if refused and contents(save_dir) == before else "silent", second.text[-3000:])
    first.kill()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(text, wanted):
    """Whether one line says so, and what mends it."""
    lines = [line for line in text.splitlines() if wanted in line]
    return len(lines) == 1 and "give another hydra.run.dir" in lines[0]


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


@pytest.mark.parametrize("name", ["mert labels encodec", "mert labels cqt", "mert export", "mert features", "mert probe"])
def test_two_of_a_command_share_the_work_or_one_refuses(faults, interpreter, data, tmp_path, name):
    """What is left is what one leaves."""
    command = make(name, data)
    assert interpreter.run(*command.argv(tmp_path / "clean")).code() == 0
    clean = outputs(tmp_path / "clean")
    for number in range(faults.times(1, 5)):
        out = tmp_path / str(number)
        both = [interpreter.start(*command.argv(out)) for _ in range(2)]
        codes = [started.code() for started in both]
        text = "".join(started.text for started in both)
        refused = sorted(codes) == [0, 1] and "mert: " in text
        outcome = "survived" if codes == [0, 0] else "refused" if refused else "silent"
        unlike = [path for path, content in outputs(out).items() if _once(path, content) != _once(path, clean.get(path, b""))]
        missing = clean.keys() - outputs(out).keys()
        outcome = "traceback" if "Traceback" in text else "lost" if unlike or missing else outcome
        faults.record(f"two at once: {name}", outcome, f"{codes} {unlike} {missing}\n{text[-3000:]}")


def _once(path, content):
    """What two of `mert features` have each noted counts once."""
    return b"\n".join(sorted(set(content.splitlines()))) if path.endswith("sources.jsonl") else content


#: Python that builds a handful of toy clips, saying when it has begun.
TOY = """
import sys
from pathlib import Path
from mert_fairseq.cli import main
from mert_fairseq.probe.toy import corpus
corpus.CLIPS.update(train=2, valid=2, test=2)
corpus.build(Path({folder!r}))
sys.exit(0)
"""


def test_two_toy_probes_do_not_write_clips_that_the_other_reads(faults, interpreter, tmp_path):
    toy = TOY.format(folder=str(tmp_path / "clips"))
    write = "write = corpus.soundfile.write\ncorpus.soundfile.write = lambda *given: (write(*given), hold())\n"
    held = toy.replace("corpus.build", HOLD.format(go=str(tmp_path / "go")) + write + "corpus.build")
    first = interpreter.start("mert", before=held)
    first.until(lambda: list(tmp_path.glob("clips/*/*.flac")), "clip")
    second = interpreter.start("mert", before=toy)
    second.until(lambda: "waiting for it" in second.text, "wait")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("clips/*/*.flac")}
    (tmp_path / "go").touch()
    assert first.code() == second.code() == 0, second.text
    same = all(path.stat().st_mtime_ns == written for path, written in before.items())
    faults.record("two at once: mert probe toy", "survived" if same else "lost", second.text)
