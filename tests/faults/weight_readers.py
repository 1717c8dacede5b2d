"""Everything in the package that reads weights from a file, each given the bytes of one."""

import json
from pathlib import Path
from typing import Callable, Dict

import soundfile
import torch
from omegaconf import OmegaConf
from outcomes import Shown, mert

from mert_fairseq.checkpoints import check_resumable
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.probe.foreign_encoders import load_transformers
from mert_fairseq.report.held_out import predict
from mert_fairseq.resume import choose_checkpoint
from mert_fairseq.teachers.rvqvae import PUBLISHED_FILE, load_teacher

HUBERT = {"model_type": "hubert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def _placed(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _audio(folder: Path) -> Path:
    soundfile.write(folder / "song.wav", torch.zeros(2_400).numpy(), SAMPLE_RATE)
    return folder / "song.wav"


def _library(call: Callable, *arguments) -> Shown:
    """What a command that makes this call would show."""
    try:
        call(*arguments)
    except MertError as error:
        return Shown(1, f"mert: {error}")
    return Shown(0, "")


def _resume(folder: Path, data: bytes) -> Shown:
    path = _placed(folder, "run/checkpoints/checkpoint_1_1.pt", data)
    return _library(check_resumable, str(path), torch.nn.Linear(2, 2), {})


def _choose(folder: Path, data: bytes) -> Shown:
    path = _placed(folder, "run/checkpoints/checkpoint_last.pt", data)
    return _library(choose_checkpoint, str(path), str(path.parent))


def _report(folder: Path, data: bytes) -> Shown:
    path = _placed(folder, "run/checkpoints/checkpoint_last.pt", data)
    config = OmegaConf.create({"task": {"data": str(folder), "label_dir": str(folder)}, "checkpoint": {}})
    return _library(predict, path.parents[1], config)


def _teacher(folder: Path, data: bytes) -> Shown:
    return _library(load_teacher, _placed(folder, f"teacher/{PUBLISHED_FILE}", data).parent)


def _exported(folder: Path, data: bytes, name: str = "pytorch_model.bin") -> Path:
    path = _placed(folder, f"hub/{name}", data)
    config = {"conv_dim": [8], "conv_kernel": [10], "conv_stride": [5], "conv_bias": False, "num_conv_pos_embeddings": 16}
    config |= {"num_conv_pos_embedding_groups": 4, "do_stable_layer_norm": False, "layer_norm_eps": 1e-5, "layerdrop": 0.0}
    config |= {"feat_extract_norm": "group", "hidden_act": "gelu"}
    config |= dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout"), 0.0)
    (path.parent / "config.json").write_text(json.dumps(HUBERT | config), encoding="utf-8")
    (path.parent / "preprocessor_config.json").write_text('{"sampling_rate": 24000}', encoding="utf-8")
    return path.parent


def _foreign(folder: Path, data: bytes) -> Shown:
    path = _placed(folder, "foreign/pytorch_model.bin", data)
    (path.parent / "config.json").write_text(json.dumps(HUBERT), encoding="utf-8")
    preparation = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16_000, "do_normalize": True}
    (path.parent / "preprocessor_config.json").write_text(json.dumps(preparation), encoding="utf-8")
    return _library(load_transformers, path.parent, torch.device("cpu"))


#: Name -> reader of a folder that is free for it and the bytes of a file with weights.
READERS: Dict[str, Callable[[Path, bytes], Shown]] = {
    "resume": _resume,
    "choice of a checkpoint": _choose,
    "export": lambda folder, data: mert("export", _placed(folder, "given.pt", data), folder / "out"),
    "import": lambda folder, data: mert("import", _placed(folder, "given.pt", data), folder / "out.pt"),
    "features": lambda folder, data: mert("features", _placed(folder, "given.pt", data), _audio(folder), "--out", folder / "out"),
    "probe": lambda folder, data: mert("probe", "GTZAN", "--model", _placed(folder, "given.pt", data), "--data", folder),
    "report": _report,
    "published teacher": _teacher,
    "import of a folder": lambda folder, data: mert("import", _exported(folder, data), folder / "out.pt"),
    "another's folder": _foreign,
}


def read_safetensors(folder: Path, data: bytes) -> Shown:
    """A Hugging Face folder with these bytes as its weights."""
    return mert("import", _exported(folder, data, "model.safetensors"), folder / "out.pt")
