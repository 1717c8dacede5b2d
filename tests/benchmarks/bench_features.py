"""`mert features` of the 95M model against Hugging Face's model called file by file, both from one folder; and an hour-long file."""

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

LENGTHS_S = (30, 12, 8, 16)
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


def files(folder: Path) -> None:
    """Each half by both, in turn, so that the machine's moods fall on both sides."""
    paths, exported = make_files(folder, LENGTHS_S), make_folder(folder / "mert")
    model, hubert = load_model(str(exported)), AutoModel.from_pretrained(exported).eval()
    ours_s = reference_s = 0.0
    found, reference = [], []
    ours(model, paths[2:3]), theirs(hubert, paths[2:3])
    for half in (paths[: len(paths) // 2], paths[len(paths) // 2 :]):
        reference_s += seconds(lambda half=half: reference.extend(theirs(hubert, half)))
        ours_s += seconds(lambda half=half: found.extend(ours(model, half)))
    record(f"features of {len(paths)} files, mert_base", ours_s, reference_s, BAR, "s")
    record("their largest difference", float(max(np.abs(a - b).max() for a, b in zip(found, reference))), most=MOST_DIFFERENT)


def long_file(folder: Path) -> None:
    """An hour, one layer's frames: peak of the whole process."""
    (path,) = make_files(folder, [3600])
    model = load_model(str(make_folder(folder / "mert")))
    for _, array in extract_all(model, [path], FeatureSettings(layer=1, pool="mean"), lambda _, shape: np.empty(shape, np.float32)):
        assert np.isfinite(array).all()
    record("features of an hour, mert_base: peak MB", peak_mb(), most=MOST_MB)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (long_file if "--long" in sys.argv else files)(Path(folder))
