"""A trained encoder, ready to be listened with: from a checkpoint or a Hugging Face folder."""

import functools
import hashlib
from pathlib import Path
from typing import List, Optional

import torch
from torch import Tensor

from mert_fairseq.checkpoints import DAMAGED
from mert_fairseq.errors import MertError
from mert_fairseq.export.hubert_names import is_head
from mert_fairseq.export.imported import import_weights
from mert_fairseq.export.training_model import build_model
from mert_fairseq.frames import FRAME_RATE, receptive_field
from mert_fairseq.models.mert import MERTModel

PRECISIONS = {"float32": "none", "bfloat16": "bf16"}  # and what model.autocast calls them


class Encoder:
    """Hidden states of 24 kHz audio.

    Attributes:
        name: what it was loaded from.
        num_layers: L; there are L + 1 hidden states, the transformer's input first.
        dim: D.
        shortest: samples that give one frame.
        frame_rate: frames per second.
    """

    frame_rate = float(FRAME_RATE)

    def __init__(self, name: str, model: MERTModel, device: torch.device):
        self.name, self.device, self._model = name, device, model.to(device).eval()
        self.num_layers, self.dim = len(model.encoder.layers), model.cfg.encoder_embed_dim
        self.shortest = receptive_field(model.conv_layers)

    @property
    def precision(self) -> str:
        """One of PRECISIONS."""
        return next((name for name, own in PRECISIONS.items() if own == str(self._model.cfg.autocast)), "float32")

    @functools.cached_property
    def weights_hash(self) -> str:
        """sha256 of the encoder's weights, the same for a checkpoint and what was exported from it; of a lower precision another one."""
        autocast = self._model.cfg.autocast
        digest = hashlib.sha256(b"" if str(autocast) == "none" else str(autocast).encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            if not is_head(name):
                digest.update(name.encode())
                digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def hidden_states(self, wave: Tensor, last: Optional[int] = None) -> List[Tensor]:
        """[B, S] samples at 24 kHz -> L + 1 tensors [B, T, D], float32, on the encoder's device; or up to that of layer `last`."""
        return [state.float() for state in self._model.hidden_states(wave.to(self.device), last)]


def load_model(path: str, device: Optional[str] = None, precision: str = "float32") -> Encoder:
    """Opens a checkpoint (RUN_DIR/checkpoints/checkpoint_last.pt), an imported one, or a Hugging Face folder of MERT.

    Args:
        device: "cpu", "cuda", "cuda:1" ...; None: a GPU where there is one.
        precision: "bfloat16" multiplies matrices in it, quicker where the device has it and different in the third digit.
    """
    imported = import_weights(str(path))
    settings = imported.state["cfg"]["model"]
    model = build_model(settings, imported.state["task_state"]["codebook_sizes"], str(path))
    model.load_state_dict(imported.state["model"])
    if precision not in PRECISIONS:
        raise MertError(f"precision {precision!r}: one of {', '.join(PRECISIONS)} wanted")
    model.float().cfg.autocast = PRECISIONS[precision]
    return Encoder(Path(path).name, model, device_of(device))


def device_of(wanted: Optional[str]) -> torch.device:
    """The device of that name, once it was seen to work; None: a GPU where there is one."""
    name = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except DAMAGED as error:
        raise MertError(f"device {name!r}: {str(error).splitlines()[0]}; use cpu or leave it out") from None
