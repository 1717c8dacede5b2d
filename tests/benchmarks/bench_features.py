"""`mert features` of the 95M model against Hugging Face's called file by file, both from one folder; with --long, an hour-long file."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from harness import peak_mb, record, seconds
from transformers import AutoModel

from mert_fairseq.data.audio import read_audio
from mert_fairseq.export.encoder import Encoder, load_model
from mert_fairseq.export.extraction import FeatureSettings, extract_all
from mert_fairseq.export.hf_folder import write_folder
from mert_fairseq.export.training_model import TrainingModel, build_model

SONG_S, CLIPS_S = 90, (20, 10)
BAR, MOST_DIFFERENT, MOST_MB = 1.3, 1e-4, 3000.0


def make_folder(folder: Path) -> Path:
    """mert_base with random weights, exported."""
    torch.manual_seed(0)
    folder.mkdir()
    write_folder(folder, TrainingModel(build_model({}, [1024] * 8, "random").eval(), "float32", {}, {}))
    return folder


def make_files(folder: Path, lengths_s) -> list:
    random, paths = np.random.default_rng(0), []
    for number, length in enumerate(lengths_s):
        paths.append(folder / f"{number}.flac")
        soundfile.write(paths[-1], 0.1 * random.standard_normal(length * 24_000).astype(np.float32), 24_000)
    return paths


def ours(model: Encoder, paths: list) -> list:
    found = extract_all(model, paths, FeatureSettings(), lambda _, shape: np.empty(shape, np.float32))
    return [array for _, array in sorted(found)]


@torch.inference_mode()
def theirs(model, paths: list) -> list:
    means = []
    for path in paths:
        found = model(torch.from_numpy(read_audio(path))[None], output_hidden_states=True)
        means.append(torch.stack([state[0].mean(0) for state in (*found.hidden_states[:-1], found.last_hidden_state)]).numpy())
    return means


def song_and_clips(folder: Path) -> None:
    """A song, of which attention over the whole costs what windows do not; and clips shorter than a window, the same numbers for both."""
    (song, *clips), exported = make_files(folder, (SONG_S, *CLIPS_S)), make_folder(folder / "mert")
    model, hubert = load_model(str(exported)), AutoModel.from_pretrained(exported).eval()
    found, reference = ours(model, clips[1:]), theirs(hubert, clips[1:])  # warms both up
    record("features of mert_base: largest difference", float(np.abs(found[0] - reference[0]).max()), most=MOST_DIFFERENT)
    reference_s, ours_s = (seconds(lambda run=run, model=of: run(model, clips)) for run, of in ((theirs, hubert), (ours, model)))
    record(f"the same, {len(clips)} clips of 10 to 20 s", ours_s, reference_s, unit="s", bar=1.0)
    reference_s, ours_s = (seconds(lambda run=run, model=of: run(model, [song])) for run, of in ((theirs, hubert), (ours, model)))
    record(f"the same, a song of {SONG_S} s in windows of 30 s", ours_s, reference_s, BAR, "s")


def long_file(folder: Path) -> None:
    """An hour, one layer's frames: peak of the whole process."""
    (path,) = make_files(folder, [3600])
    model = load_model(str(make_folder(folder / "mert")))
    for _, array in extract_all(model, [path], FeatureSettings(layer=1, pool="mean"), lambda _, shape: np.empty(shape, np.float32)):
        assert np.isfinite(array).all()
    record("features of an hour, mert_base: peak MB", peak_mb(), most=MOST_MB)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (long_file if "--long" in sys.argv else song_and_clips)(Path(folder))
