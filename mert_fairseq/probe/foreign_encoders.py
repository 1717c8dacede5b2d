"""Other people's audio models, from a folder on disk, under the interface of ours."""

import hashlib
from pathlib import Path
from pickle import UnpicklingError
from typing import List, Optional

import torch
from torch import Tensor, nn
from torchaudio.functional import resample

from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.probe.foreign_config import read_audio_config

NEEDED = "pip install 'mert-fairseq[export]'"
#: What transformers raises for settings and weights that are no model's.
NO_ENCODER = (OSError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, ImportError, RuntimeError, UnpicklingError)


class ForeignEncoder:
    """A model called with waves at its own rate.

    Attributes:
        frame_rate: found by hearing ten seconds.
    """

    def __init__(self, name: str, model: nn.Module, device: torch.device, rate: int, normalise: bool):
        self.name, self.device, self._rate, self._normalise = name, device, rate, normalise
        self._model = model.to(device).eval()
        states = self.hidden_states(torch.zeros(1, 10 * SAMPLE_RATE))
        self.num_layers, self.dim = len(states) - 1, states[0].size(-1)
        self.frame_rate, self.shortest = round(states[0].size(1) / 10 * 2) / 2, SAMPLE_RATE // 10

    @property
    def weights_hash(self) -> str:
        """sha256 of all weights, and of how the audio is prepared."""
        digest = hashlib.sha256(f"{self._rate} {self._normalise}".encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    def hidden_states(self, wave: Tensor, last: Optional[int] = None) -> List[Tensor]:
        """[B, S] samples at 24 kHz -> L + 1 tensors [B, T, D], float32, whatever `last` says."""
        wave = resample(wave.to(self.device), SAMPLE_RATE, self._rate)
        if self._normalise:  # as transformers' Wav2Vec2FeatureExtractor does
            wave = (wave - wave.mean(-1, keepdim=True)) / (wave.var(-1, keepdim=True, unbiased=False) + 1e-7).sqrt()
        found = self._model(wave, output_hidden_states=True)
        return [state.float() for state in (*found.hidden_states[:-1], found.last_hidden_state)]


def load_transformers(folder: Path, device: torch.device) -> ForeignEncoder:
    """HuBERT, wav2vec 2.0, WavLM, data2vec: what AutoModel loads without any code but its own, and takes a wave.

    Raises:
        MertError: transformers is not installed, the folder holds no such model, or it asks for code from elsewhere.
    """
    settings = read_audio_config(folder)
    try:
        from huggingface_hub.errors import StrictDataclassError
        from transformers import CONFIG_MAPPING, AutoFeatureExtractor, AutoModel
    except ImportError as error:
        raise MertError(f"{folder}: transformers cannot be imported ({error}); {NEEDED}") from None
    try:
        prepare = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
        config = CONFIG_MAPPING[settings["model_type"]].from_dict(settings)  # of what was looked at: the file is not read again
        weights = {"use_safetensors": _safetensors(folder), "local_files_only": True}
        model = AutoModel.from_pretrained(folder, config=config, **weights, trust_remote_code=False)
        return ForeignEncoder(folder.name, model.float(), device, int(prepare.sampling_rate), bool(prepare.do_normalize))
    except (*NO_ENCODER, StrictDataclassError) as error:
        raise MertError(f"{folder}: transformers does not make an audio encoder of it ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """Its text in one line; of a strict dataclass's, whose first line is a heading, both lines."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _safetensors(folder: Path) -> Optional[bool]:
    """Whether to insist on safetensors: transformers reads pickles by torch's safe loader as well."""
    return True if any(folder.glob("*.safetensors")) else None


def load_muq(folder: Path, device: torch.device) -> ForeignEncoder:
    """MuQ (24 kHz, 25 frames per second) by its own package.

    Raises:
        MertError: the package is not installed, or the folder holds no MuQ.
    """
    try:
        from muq import MuQ
    except ImportError as error:
        raise MertError(f"muq:{folder}: its package cannot be imported ({error}); pip install muq") from None
    if not folder.is_dir():
        raise MertError(f"muq:{folder}: no such folder; download the model's files into one")
    return ForeignEncoder(folder.name, MuQ.from_pretrained(str(folder)).float(), device, SAMPLE_RATE, normalise=False)
