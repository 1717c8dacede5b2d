"""The acoustic teacher: a convolutional autoencoder whose latents a residual vector quantiser turns into codes.

Encoder and decoder are EnCodec's (Defossez et al. 2022, section 3.1; package `encodec`): causal SEANet, ratios 8*5*4*2 = a hop of
320 samples, 75 frames per second at 24 kHz. Two kinds of weights give the same object:

* a folder written by `RVQVAE.save` (`mert teacher fit rvqvae`, layout in `teacher_folder`) with encoder.*, decoder.* and
  codebooks [K, V, D];
* EnCodec's published 24 kHz weights, `encodec_24khz-d7cc33bc.th`, in a folder or in the torch hub cache.
"""

import hashlib
import logging
import struct
import warnings
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Dict, Optional, Union

import torch
from encodec.modules import SEANetDecoder, SEANetEncoder
from torch import Tensor, nn

from mert_fairseq.checkpoint_limits import check_archive
from mert_fairseq.errors import MertError
from mert_fairseq.teachers.causal_convolutions import quicken
from mert_fairseq.teachers.residual_kmeans import residual_codes
from mert_fairseq.teachers.teacher_folder import (
    CONFIG_FILE,
    FIT_COMMANDS,
    WEIGHTS_FILE,
    read_config,
    read_weights,
    serialise,
    sha256_of,
    write_teacher,
)

logger = logging.getLogger(__name__)

#: What torch's loader has been seen to raise on damaged files, besides its own refusals.
DAMAGED = (RuntimeError, EOFError, OSError, LookupError, AttributeError, TypeError, ValueError, AssertionError, OverflowError, MemoryError)
DAMAGED += (struct.error, zipfile.BadZipFile)

FORMAT = "mert-rvqvae"
PUBLISHED_FILE, PUBLISHED_SHA256 = "encodec_24khz-d7cc33bc.th", "d7cc33bc"  # torch hub: a prefix of the file's sha256
CODEBOOKS_OF_BANDWIDTH = {1.5: 2, 3.0: 4, 6.0: 8, 12.0: 16, 24.0: 32}  # kbps -> K: 75 frames/s * 10 bits per code
FIT_COMMAND = FIT_COMMANDS[FORMAT]
MAX_LSTM = 16  # layers


@dataclass(frozen=True)
class RVQVAESettings:
    """What fixes the shapes and the arithmetic of a teacher."""

    n_filters: int = 8  # channels of the first layer, doubled at each of four strides; published EnCodec: 32
    dimension: int = 128  # D of the latents; published EnCodec: 128
    num_codebooks: int = 8  # K; MERT predicts 8 (Li et al. 2023, section 3)
    codebook_size: int = 1024  # V
    lstm: int = 2  # layers; published EnCodec: 2
    input_gain: float = 8.0  # music has an rms near 0.1 and the encoder learns from inputs near 1; published EnCodec: 1


class RVQVAE(nn.Module):
    """Wave [B, S] at 24 kHz -> codes [B, K, T], T = ceil(S / 320), and back."""

    def __init__(self, settings: RVQVAESettings, name: str = "rvqvae") -> None:
        super().__init__()
        self.settings, self.name = settings, name
        self.num_codebooks, self.codebook_size = settings.num_codebooks, settings.codebook_size
        shape = dict(n_filters=settings.n_filters, dimension=settings.dimension, lstm=settings.lstm)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # encodec builds on torch's first weight_norm
            self.encoder = SEANetEncoder(causal=True, norm="weight_norm", **shape)
            self.decoder = SEANetDecoder(causal=True, norm="weight_norm", **shape)
        quicken(self)
        self.register_buffer("codebooks", torch.zeros(settings.num_codebooks, settings.codebook_size, settings.dimension))
        self.report: Dict[str, Any] = {}
        self._weights_hash: Optional[str] = None

    @property
    def weights_hash(self) -> str:
        """sha256 of the weights file, or of what would be written."""
        return self._weights_hash or hashlib.sha256(serialise(self.state_dict())).hexdigest()

    def latents(self, wave: Tensor) -> Tensor:
        """Wave [B, S] -> latents [B, D, T] before the quantiser."""
        return self.encoder(wave.unsqueeze(1) * self.settings.input_gain)

    def quantise(self, latents: Tensor) -> Tensor:
        """Latents [B, D, T] -> codes [B, K, T]: each codebook takes the entry nearest to what the ones before it left."""
        codes = residual_codes(latents.transpose(1, 2).flatten(0, 1), self.codebooks)  # [B * T, K]
        return codes.view(len(latents), -1, self.num_codebooks).transpose(1, 2)

    def dequantise(self, codes: Tensor) -> Tensor:
        """Codes [B, K', T] of the first K' <= K codebooks -> latents [B, D, T]."""
        return sum(self.codebooks[k][codes[:, k]] for k in range(codes.shape[1])).transpose(1, 2)

    def synthesise(self, latents: Tensor) -> Tensor:
        """Latents [B, D, T] -> wave [B, 320 T]."""
        return self.decoder(latents).squeeze(1) / self.settings.input_gain

    @torch.no_grad()
    def encode(self, wave: Tensor) -> Tensor:
        """Wave [B, S], 24 kHz -> codes [B, K, ceil(S / 320)] int64 in 0..V-1."""
        if wave.shape[-1] == 0:
            return wave.new_zeros(wave.shape[0], self.num_codebooks, 0, dtype=torch.long)
        return self.quantise(self.latents(wave))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, K', T] -> wave [B, 320 T]; fewer than K codebooks give a coarser sound."""
        return self.synthesise(self.dequantise(codes))

    def save(self, folder: Union[str, Path], report: Optional[Dict[str, Any]] = None) -> None:
        """Writes the teacher's folder; one that is there is replaced."""
        self.report = report or {}
        self._weights_hash = write_teacher(folder, FORMAT, serialise(self.state_dict()), asdict(self.settings), self.report)


def load_teacher(folder: Union[str, Path, None] = None, bandwidth: Optional[float] = None) -> RVQVAE:
    """The teacher in `folder`: one of `RVQVAE.save`, or EnCodec's published file; with None that file in the torch hub cache.

    `bandwidth` [kbps] picks the number of codebooks of the published weights: 1.5, 3, 6 (default), 12, 24 -> 2, 4, 8, 16, 32.
    """
    where = Path(folder) if folder is not None else Path(torch.hub.get_dir()) / "checkpoints"
    if folder is not None and (where / CONFIG_FILE).is_file():
        if bandwidth is not None:
            raise MertError(f"bandwidth {bandwidth}: {where} is a fitted teacher, its codebooks are fixed; leave bandwidth out")
        return _load_fitted(where)
    if not (where / PUBLISHED_FILE).is_file():
        wanted = PUBLISHED_FILE if folder is None else f"{CONFIG_FILE} + {WEIGHTS_FILE} or {PUBLISHED_FILE}"
        raise MertError(f"no teacher weights in {where} (looked for {wanted}); put them there or make some offline: {FIT_COMMAND}")
    return _load_published(where / PUBLISHED_FILE, 6.0 if bandwidth is None else bandwidth)


def _load_fitted(folder: Path) -> RVQVAE:
    config = read_config(folder, (FORMAT,), RVQVAESettings.__dataclass_fields__)
    state = read_weights(folder, config)
    settings = RVQVAESettings(**config["settings"])
    held, entries = sum(tensor.numel() for tensor in state.values()), settings.num_codebooks * settings.codebook_size
    if max(settings.n_filters**2, settings.dimension * entries) > held or settings.lstm > MAX_LSTM:
        raise MertError(f"{folder / CONFIG_FILE}: its settings ask for a larger teacher than {WEIGHTS_FILE} holds; fit anew: {FIT_COMMAND}")
    model = RVQVAE(settings)
    _load_state(model, state, folder / WEIGHTS_FILE)
    model.report, model._weights_hash = config.get("report", {}), config["sha256"]
    return model.eval()


def _load_published(path: Path, bandwidth: float) -> RVQVAE:
    if bandwidth not in CODEBOOKS_OF_BANDWIDTH:
        raise MertError(f"bandwidth {bandwidth} kbps; EnCodec at 24 kHz has {', '.join(map(str, CODEBOOKS_OF_BANDWIDTH))}")
    num_codebooks, found = CODEBOOKS_OF_BANDWIDTH[bandwidth], sha256_of(path)
    if not found.startswith(PUBLISHED_SHA256):
        logger.warning(f"{path} has sha256 {found[:12]}, the published file {PUBLISHED_SHA256}...: not the published weights")
    try:
        if zipfile.is_zipfile(path):
            check_archive(str(path))
        state = torch.load(path, map_location="cpu", weights_only=True)  # never unpickles code
        codebooks = [state[f"quantizer.vq.layers.{k}._codebook.embed"] for k in range(num_codebooks)]
        state = {name: value for name, value in state.items() if name.startswith(("encoder.", "decoder."))}
        state["codebooks"] = torch.stack(codebooks)
    except (UnpicklingError, *DAMAGED) as error:
        reason = str(error).strip().split("\n")[0][:120]
        raise MertError(f"{path} is not EnCodec's state dict or is damaged ({type(error).__name__}: {reason}); nothing in it was run; "
                        f"fetch it again or make a teacher offline: {FIT_COMMAND}") from error
    settings = RVQVAESettings(n_filters=32, num_codebooks=num_codebooks, input_gain=1.0)
    model = RVQVAE(settings, name="encodec_24khz")
    _load_state(model, state, path)
    model._weights_hash = found
    return model.eval()


def _load_state(model: RVQVAE, state: Dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MertError(f"{path} does not hold the weights its settings call for ({reason}); fit anew: {FIT_COMMAND}") from error
