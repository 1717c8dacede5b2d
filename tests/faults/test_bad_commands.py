"""Every subcommand with a folder that is missing, empty, or a file, and numbers that cannot be: one line, and nothing written."""

import re
from pathlib import Path

import pytest
import soundfile
from damaged_audio import make_wave
from made_checkpoints import write_checkpoint
from outcomes import mert
from training_runs import build_corpus

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings
from mert_fairseq.teachers.teacher_folder import check_free


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus with what belongs to it, and places where something else is."""
    folder = build_corpus(tmp_path_factory.mktemp("place") / "corpus", num_train=2, num_valid=1, seconds=3)
    write_checkpoint(folder / "model.pt")
    RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=2, codebook_size=4, lstm=1)).save(folder / "teacher")
    (folder / "empty").mkdir()
    (folder / "file").write_text("a file")
    for number in range(3):
        (folder / "odd").mkdir(exist_ok=True)
        soundfile.write(folder / "odd" / f"{number}.wav", make_wave(), 44_101)
    return folder


#: {} is where the wrong place stands, {p} the corpus, {o} a place to write that does not exist.
PLACES = (
    "manifest {} {o}",
    "teacher fit rvqvae {} {o}",
    "teacher fit kmeans {} {o} --features mfcc",
    "teacher fit melrvq {} {o}",
    "labels encodec {} {o} --weights {p}/teacher",
    "labels encodec {p}/manifest {o} --weights {}",
    "labels kmeans {p}/manifest {o} --weights {}",
    "labels melrvq {p}/manifest {o} --weights {}",
    "labels cqt {} {o}",
    "labels import {} {p}/audio {o} --name x --labels km",
    "labels import {p}/manifest {} {o} --name x --labels km",
    "labels import {p}/manifest {} {o} --name x --npy-dir",
    "labels check {} {p}/labels",
    "labels check {p}/manifest {}",
    "labels stats {}",
    "labels stats {p}/labels {}",
    "report {}",
    "report {} {}",
    "export {} {o}",
    "import {} {o}",
    "features {} {p}/audio --out {o}",
    "features {p}/model.pt {} --out {o}",
    "probe GTZAN --model {} --data {p}",
    "probe GTZAN --model {p}/model.pt --data {} --out {o}",
    "probe check GTZAN --data {}",
    "probe check all --data {}",
    "probe table {}",
    "probe compare {} {}",
    "probe toy --model {} --dir {o}",
)
WRONG = ("{p}/missing", "{p}/empty", "{p}/file", "{p}/" + "x" * 300, "{p}/odd", "/dev/null", "{p}/file/below")
#: A file, or a folder below one, where something is to be written.
OUT = (
    "manifest {p}/audio {} --valid-percent 50 --min-seconds 1",
    "teacher fit rvqvae {p}/manifest {} --updates 1",
    "teacher fit kmeans {p}/manifest {} --features mfcc --clusters 2",
    "labels encodec {p}/manifest {} --weights {p}/teacher",
    "labels cqt {p}/manifest {}",
    "export {p}/model.pt {}",
    "import {p}/model.pt {}",
    "features {p}/model.pt {p}/audio --out {}",
)
NUMBERS = (
    "manifest {p}/audio {o} --valid-percent 0", "manifest {p}/audio {o} --valid-percent nan", "manifest {p}/audio {o} --min-seconds -1",
    "manifest {p}/audio {o} --min-seconds inf", "manifest {p}/audio {o} --workers 0",
    "teacher fit rvqvae {p}/manifest {o} --updates 0", "teacher fit rvqvae {p}/manifest {o} --max-seconds 1",
    "teacher fit rvqvae {p}/manifest {o} --threads 0", "teacher fit rvqvae {p}/manifest {o} --seed -1",
    "teacher fit rvqvae {p}/manifest {o} --max-seconds nan", "teacher fit rvqvae {p}/manifest {o} --finetune-updates -1",
    "teacher fit kmeans {p}/manifest {o} --features mfcc --clusters 0", "teacher fit kmeans {p}/manifest {o} --features mfcc --frames 0",
    "teacher fit kmeans {p}/manifest {o} --features mfcc --clusters 99999999",
    "teacher fit kmeans {p}/manifest {o} --features mfcc --seed -1",
    "labels cqt {p}/manifest {o} --nshard 0", "labels cqt {p}/manifest {o} --nshard 3 --shard 3", "labels cqt {p}/manifest {o} --nshard 99",
    "labels cqt {p}/manifest {o} --allow-bad -1", "labels cqt {p}/manifest {o} --threads 0", "labels cqt {p}/manifest {o} --splits test",
    "labels encodec {p}/manifest {o} --weights {p}/teacher --bandwidth 5",
    "labels encodec {p}/manifest {o} --weights {p}/teacher --device x",
    "labels encodec {p}/manifest {o} --weights {p}/teacher --device cuda:99", "labels check {p}/manifest {p}/labels --workers 0",
    "labels import {p}/manifest {p}/audio {o} --name x --labels km --label-rate 0",
    "labels import {p}/manifest {p}/audio {o} --name x --npy-dir --label-rate nan",
    "labels stats {p}/labels --sample-hours 0", "labels stats {p}/labels --sample-hours nan", "import {p}/model.pt {o} --codebook-sizes 0",
    "features {p}/model.pt {p}/audio --out {o} --layer 99", "features {p}/model.pt {p}/audio --out {o} --layer -1",
    "features {p}/model.pt {p}/audio --out {o} --window 0", "features {p}/model.pt {p}/audio --out {o} --window nan",
    "features {p}/model.pt {p}/audio --out {o} --batch 0", "features {p}/model.pt {p}/audio --out {o} --device cuda:99",
    "probe GTZAN --model {p}/model.pt --data {p} --layers 99", "probe GTZAN --model {p}/model.pt --data {p} --rates 0",
    "probe GTZAN --model {p}/model.pt --data {p} --layers x", "probe NoTask --model {p}/model.pt --data {p}",
    "probe GTZAN --model {p}/model.pt --data {p} --option a", "probe check GTZAN --data {p} --option a=b",
)  # fmt: skip


def run(command, place, out, wrong=""):
    """What is shown, the places filled in."""
    return mert(*[word.replace("{p}", str(place)).replace("{o}", str(out)).replace("{}", wrong) for word in command.split()])


def judged(shown, out, command=""):
    """A refusal is one line, the only one of the standard error, and leaves nothing; `mert probe check all` has one for each task."""
    if shown.outcome == "traceback" or shown.code != 1:
        return "traceback" if shown.outcome == "traceback" else "silent"
    said = shown.errors.splitlines()
    tasks = [line.split(": ")[1] for line in said if re.match("mert: [^ ]", line)]
    refusal = len(said) == len(set(tasks)) and (len(said) == 1 or command.startswith("probe check all"))
    left = [path for path in out.rglob("*.*") if path.name != "features.json"]  # of a folder in which none could be made
    return "refused" if refusal and not left else "silent"


@pytest.mark.parametrize("command", PLACES)
def test_a_place_that_is_something_else(place, command, faults, tmp_path):
    for wrong in WRONG if faults.long else WRONG[:4]:
        fits = {("manifest {} {o}", "{p}/odd"), ("features {p}/model.pt {} --out {o}", "{p}/odd")}  # a line for each file
        if ("{p}/odd" in wrong and command.startswith(("features", "manifest"))) and (command, wrong) in fits:
            continue
        out = tmp_path / "out"
        shown = run(command, place, out, wrong.replace("{p}", str(place)))
        faults.record("command: wrong place", judged(shown, out, command), f"{command} with {wrong}: {shown.code} {shown.text}")


@pytest.mark.parametrize("command", OUT)
def test_a_place_that_cannot_be_written(place, command, faults, tmp_path):
    (tmp_path / "file").write_text("kept")
    for wrong in (f"{tmp_path}/file", f"{tmp_path}/file/below", "/proc/new", "/dev/null/new"):
        shown = run(command, place, tmp_path / "out", wrong)
        faults.record("command: nowhere to write", shown.outcome.replace("survived", "silent"), f"{command} with {wrong}: {shown.text}")
        assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("command", NUMBERS)
def test_a_number_that_cannot_be(place, command, faults, tmp_path):
    shown = run(command, place, tmp_path / "out")
    faults.record("command: wrong number", judged(shown, tmp_path / "out"), f"{command}: {shown.code} {shown.text}")


def test_audio_of_a_rate_that_cannot_be_resampled(place, faults, tmp_path):
    for command in ("manifest {} {o}", "features {p}/model.pt {} --out {o}"):
        shown = run(command, place, tmp_path / "out", f"{place}/odd")
        outcome = "refused" if shown.code == 1 and ("44101" in shown.text or "unsupported_rate 3" in shown.text) else "silent"
        faults.record("command: wrong sample rate", "traceback" if "Traceback" in shown.text else outcome, shown.text)


def test_usage(faults):
    """Wrong words are answered by argparse, with exit code 2 and the usage."""
    commands = ("", "unknown", "manifest", "labels", "labels unknown", "features x", "probe check", "teacher fit", "report")
    for words in (*commands, "manifest a b --workers x", "features a b --out c --pool x"):
        shown = mert(*words.split())
        faults.record("command: wrong usage", "refused" if shown.code == 2 and "usage: mert" in shown.text else "silent", shown.text)


def test_a_teacher_s_place_is_looked_at_first(faults, tmp_path):
    """Before the minutes that fitting takes."""
    (tmp_path / "file").write_text("kept")
    for wrong in (tmp_path / "file" / "below", Path("/dev/null/new")):
        with pytest.raises(MertError, match="no folder to write in"):
            check_free(wrong)
        faults.record("command: a teacher's place", "refused")
