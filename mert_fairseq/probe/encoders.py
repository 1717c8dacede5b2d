"""What can be probed: our models, and the baselines that a score is held against.

    runs/mert_base/checkpoints/checkpoint_last.pt, mert_base_hf/     a checkpoint, a Hugging Face folder of MERT
    logmel                                                           log-mel frames and their change, no training at all
    random:mert_base, random:mert_base:7                             the model of a configuration, with random weights; and of a seed
    hubert-base-ls960/                                               another model of transformers that takes a wave, from a folder
    muq:MuQ-large-msd-iter/                                          MuQ, where its package is installed
"""

import re
from pathlib import Path
from typing import List, Optional, Protocol

import torch
from omegaconf import OmegaConf
from torch import Tensor

from mert_fairseq.errors import MertError
from mert_fairseq.export.encoder import Encoder, device_of, load_model
from mert_fairseq.export.training_model import build_model
from mert_fairseq.probe.foreign_config import read_config
from mert_fairseq.probe.foreign_encoders import load_muq, load_transformers
from mert_fairseq.probe.log_mel import LogMelEncoder

CONFIGS = Path(__file__).parents[1] / "config"
OURS = ("mert_model", "our hubert")
RANDOM_CODEBOOK = 16  # entries; heads take no part in a hidden state


class ProbedEncoder(Protocol):
    """What probing needs of an encoder.

    Attributes:
        name: for people.
        num_layers: L; there are L + 1 hidden states.
        dim: D.
        shortest: samples at 24 kHz that give one frame.
        frame_rate: frames per second.
        weights_hash: of what decides the numbers.
    """

    name: str
    num_layers: int
    dim: int
    shortest: int
    frame_rate: float
    weights_hash: str
    device: torch.device

    def hidden_states(self, wave: Tensor, last: Optional[int] = None) -> List[Tensor]:
        """[B, S] samples at 24 kHz -> L + 1 tensors [B, T, D], float32, or at least those up to layer `last`."""


def open_encoder(spec: str, device: Optional[str] = None, precision: str = "float32") -> ProbedEncoder:
    """Opens what `--model` names.

    Raises:
        MertError: nothing of that name, or it cannot be read.
    """
    ours = spec.endswith(".pt") or (Path(spec) / "config.json").is_file() and _model_type(Path(spec)) in OURS
    if precision != "float32" and not ours:
        raise MertError(f"--precision {precision}: of checkpoints and exported folders alone, not of {spec}")
    if spec == "logmel":
        return LogMelEncoder(device_of(device))
    if spec.startswith("random:"):
        return _random(spec, device)
    if spec.startswith("muq:"):
        return load_muq(Path(spec.removeprefix("muq:")), device_of(device))
    folder = Path(spec)
    if not folder.exists():
        allowed = "a checkpoint, a Hugging Face folder, logmel, random:CONFIG or muq:FOLDER"
        raise MertError(f"--model {spec}: no such file or folder; {allowed} wanted")
    if folder.is_dir() and _model_type(folder) not in OURS:
        return load_transformers(folder, device_of(device))
    return load_model(spec, device, precision)


def is_trained(name: str) -> bool:
    """Whether the encoder of that name was trained on anything."""
    return name != LogMelEncoder.name and not name.startswith("random:")


def short_name(spec: str) -> str:
    """For a folder of scores: of a checkpoint RUN/checkpoints/checkpoint_last.pt the run's name, of other checkpoints their own."""
    parts = [part for part in Path(spec).parts if part not in ("checkpoints", "/", ".", "..")]
    run = len(parts) > 1 and re.fullmatch(r"checkpoint_(last|best)\.pt", parts[-1])
    return re.sub(r"[^\w.-]+", "_", parts[-2] if run else parts[-1].removesuffix(".pt"))


def _random(spec: str, device: Optional[str]) -> Encoder:
    name, _, seed = spec.removeprefix("random:").partition(":")
    path = CONFIGS / f"{name}.yaml"
    if seed and not seed.isdecimal():
        raise MertError(f"--model {spec}: the seed behind the configuration is a number, e.g. random:{name}:7")
    if not path.is_file():
        raise MertError(f"--model {spec}: no such configuration; one of {', '.join(sorted(p.stem for p in CONFIGS.glob('*.yaml')))} wanted")
    settings = OmegaConf.to_container(OmegaConf.load(path).model, resolve=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed or 1))
        model = build_model(settings, [RANDOM_CODEBOOK], spec)
    return Encoder(spec, model, device_of(device))


def _model_type(folder: Path) -> str:
    """Of a Hugging Face folder; "our hubert" for one that `mert export` made."""
    config = read_config(folder)
    return "our hubert" if "mert" in config else str(config.get("model_type"))
