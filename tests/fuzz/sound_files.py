"""Small sound files of every kind that the package reads; what is fuzzed begins from these."""

import io
import json
import tempfile
import zipfile
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Dict

import numpy as np
import torch

from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.data.shard import ShardInfo, shard_path, write_shard
from mert_fairseq.export.feature_files import VERSION, FeatureKind
from mert_fairseq.export.hf_folder import write_folder
from mert_fairseq.export.training_model import TrainingModel, build_model, plain_settings
from mert_fairseq.teachers.cluster_teacher import KMEANS, ClusterTeacher
from mert_fairseq.teachers.frame_features import FeatureConfig

LENGTHS = (3_200, 1_000, 6_401)  # samples of the manifest's files
SIZES = [5, 3]
SETTINGS = {
    "encoder_layers": 1,
    "encoder_embed_dim": 8,
    "encoder_ffn_embed_dim": 8,
    "encoder_attention_heads": 2,
    "final_dim": 4,
    "conv_feature_layers": [[4, 10, 5], [4, 3, 2], [4, 3, 2], [4, 3, 2], [4, 3, 2], [4, 2, 2], [4, 2, 2]],
    "conv_pos": 4,
    "conv_pos_groups": 2,
    "audio_cqt_loss_m": False,
}
FEATURES = FeatureKind("model.pt", "ab" * 32, None, "mean", 30.0, "float32", "npy")

Files = Dict[str, bytes]


def files_below(folder: Path) -> Files:
    """Relative name -> bytes of all files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@cache
def corpus() -> Files:
    """train.tsv with its JSON; stores of codes, of float16 CQT and of CQT in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_manifest(folder / "train.tsv", "/music", [(f"album/{row}.flac", length) for row, length in enumerate(LENGTHS)])
        rng, frames = np.random.default_rng(0), [length // 320 + 1 for length in LENGTHS]
        codes = [np.stack([rng.integers(0, size, count) for size in SIZES], axis=1) for count in frames]
        _store(folder, "codes", codes, kind="codes", width=2, num_classes=SIZES)
        _store(folder, "cqt", [rng.random((count, 3)) for count in frames], kind="cqt", width=3, num_classes=None)
        bytes_ = [rng.integers(0, 256, (count, 3)) for count in frames]
        _store(folder, "bytes", bytes_, kind="cqt", width=3, num_classes=None, scale=[1.0, 0.5, 2.0])
        return files_below(folder)


def _store(folder: Path, name: str, arrays, **fields: Any) -> None:
    manifest = read_manifest(folder / "train.tsv")
    common = {"teacher": "maker", "frame_rate": 75.0, "rows": (0, len(manifest)), "frames": [], "settings": {"gain": 0.5}}
    info = ShardInfo(**common, **fields, weights_sha256=None, manifest_sha256=manifest.rows_hash())
    write_shard(shard_path(folder / f"train.{name}", 0, 1), info, arrays)


@cache
def checkpoint_state() -> Dict[str, Any]:
    """Content of a checkpoint of the smallest model."""
    torch.manual_seed(0)
    model = build_model(SETTINGS, SIZES, "made")
    return {
        "args": None,
        "cfg": {"model": {"_name": "mert", **plain_settings(model.cfg)}, "task": {"_name": "mert_pretraining", "data": "", "labels": []}},
        "model": model.state_dict(),
        "task_state": {"codebook_sizes": SIZES},
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 5}],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0, "version": 2}},
        "last_optimizer_state": {"state": {0: {"step": 5, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
    }


@cache
def checkpoint(older_form: bool = False) -> bytes:
    """Of `checkpoint_state`, as torch.save writes it."""
    stream = io.BytesIO()
    torch.save(checkpoint_state(), stream, _use_new_zipfile_serialization=not older_form)
    return stream.getvalue()


def with_pickle(data: bytes) -> bytes:
    """The sound checkpoint with another data.pkl."""
    with zipfile.ZipFile(io.BytesIO(checkpoint())) as sound, zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        for record in sound.infolist():
            archive.writestr(record, data if record.filename.endswith("/data.pkl") else sound.read(record))
    return stream.getvalue()


@cache
def checkpoint_pickle() -> bytes:
    """The data.pkl of the sound checkpoint."""
    with zipfile.ZipFile(io.BytesIO(checkpoint())) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


@cache
def exported() -> Files:
    """A Hugging Face folder, and the same as published: without this package's part, without heads."""
    with tempfile.TemporaryDirectory() as name:
        folder, state = Path(name), checkpoint_state()
        model = build_model(SETTINGS, SIZES, "made").eval()
        model.load_state_dict(state["model"])
        write_folder(folder, TrainingModel(model, "float32", state["cfg"], state))
        return files_below(folder)


@cache
def features() -> Files:
    """What `mert features` leaves, and the audio file that it heard."""
    sources = "\n".join(json.dumps([name, 4, 0, 0]) for name in ("song.wav", "album/other.flac"))
    index = json.dumps({"version": VERSION, **asdict(FEATURES)}, indent=2)
    return {"features.json": index.encode(), "sources.jsonl": sources.encode() + b"\n", "song.wav.npy": b"", "song.wav": b"RIFF"}


@cache
def teacher() -> Files:
    """The folder of a k-means teacher."""
    with tempfile.TemporaryDirectory() as name:
        config = FeatureConfig("chroma", 12)
        codebooks = torch.rand(1, 4, config.num_features, generator=torch.Generator().manual_seed(0))
        ClusterTeacher(KMEANS, config, codebooks, {"error": 0.5}).save(Path(name) / "teacher")
        return files_below(Path(name) / "teacher")


@cache
def labels() -> Files:
    """Labels of another program for the manifest of `corpus`: text with a dictionary, and flat numbers."""
    counts = [-(-length // 320) for length in LENGTHS]
    text = "\n".join(" ".join(str(place % 4) for place in range(count)) for count in counts) + "\n"
    stream = io.BytesIO()
    np.save(stream, np.arange(sum(counts), dtype=np.int64) % 4)
    return {"train.km": text.encode(), "dict.km.txt": b"0 9\n1 8\n2 7\n3 6\n", "train.flat.npy": stream.getvalue()}


@cache
def run() -> Files:
    """A run folder: log and configuration."""
    lines = [f"[2024-05-06 07:08:0{update},123][train_inner][INFO] - " for update in range(1, 4)]
    log = "".join(f'{line}{{"num_updates": "{place}", "loss": "3.5", "loss_m_0": "2"}}\n' for place, line in enumerate(lines, 1))
    log += '[2024-05-06 07:08:09,123][valid][INFO] - {"valid_num_updates": "3", "valid_loss": "3.4", "valid_loss_m_0": "2"}\n'
    log += '[2024-05-06 07:08:09,124][x][INFO] - versions {"python": "3.11"}\n'
    log += "[2024-05-06 07:08:09,125][x][INFO] - alarm at update 2, collapsed_predictions (codebook 3, codebook 4): text\n"
    config = "task:\n  data: manifests\n  label_dir: null\n  labels: [encodec]\nmodel:\n  dropout: 0.1\n"
    return {"hydra_train.log": log.encode(), ".hydra/config.yaml": config.encode(), ".hydra/hydra.yaml": b"hydra: {runtime: {cwd: /}}\n"}


@cache
def results() -> Files:
    """results.json of a probe."""
    score = {"mean": 0.5, "deviation": 0.1, "low": 0.4, "high": 0.6}
    content = {
        "format": "mert probe results", "version": 1, "task": "GTZAN", "metrics": ["accuracy"], "monitor": "accuracy", "classes": ["a"],
        "encoder": {"weights_hash": "ab"}, "data": {}, "settings": {}, "versions": {}, "grid": [], "chosen": {"layer": 1, "rate": 0.1},
        "seeds": [{"seed": 1, "validation": 0.5, "decision": "best", "epoch": 3, "scores": {"accuracy": 0.5}}],
        "scores": {"accuracy": score}, "predictions_sha256": "ab",
    }  # fmt: skip
    return {"results.json": json.dumps(content).encode()}
