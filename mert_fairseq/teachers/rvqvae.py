"""The acoustic teacher: a convolutional autoencoder whose latents a residual vector quantiser turns into codes.

Encoder and decoder are EnCodec's (Defossez et al. 2022, section 3.1; package `encodec`): causal SEANet, ratios 8*5*4*2 = a hop of
320 samples, 75 frames per second at 24 kHz. Two kinds of weights give the same object:

* a folder written by `RVQVAE.save` (`mert teacher fit rvqvae`):
      config.json         {"format": "mert-rvqvae", "version": 1, "sha256": ..., "settings": {...}, "report": {...}}
      model.safetensors   encoder.*, decoder.*, codebooks [K, V, D]
* EnCodec's published 24 kHz weights, `encodec_24khz-d7cc33bc.th`, in a folder or in the torch hub cache.
"""

import hashlib
import json
import logging
import os
import pickle
import shutil
import tempfile
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Dict, Optional, Union

import numpy as np
import safetensors
import safetensors.torch
import torch
from encodec.modules import SEANetDecoder, SEANetEncoder
from torch import Tensor, nn

from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP, SAMPLE_RATE, num_code_frames

logger = logging.getLogger(__name__)

FORMAT, VERSION = "mert-rvqvae", 1
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
PUBLISHED_FILE, PUBLISHED_SHA256 = "encodec_24khz-d7cc33bc.th", "d7cc33bc"  # torch hub: a prefix of the file's sha256
CODEBOOKS_OF_BANDWIDTH = {1.5: 2, 3.0: 4, 6.0: 8, 12.0: 16, 24.0: 32}  # kbps -> K: 75 frames/s * 10 bits per code
ACTIVATION_BYTES = 24 * 2**20  # a tensor above glibc's 32 MiB mmap threshold is paged in afresh each time: half the speed
FIT_COMMAND = "mert teacher fit rvqvae MANIFEST_DIR OUT"


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
        self.register_buffer("codebooks", torch.zeros(settings.num_codebooks, settings.codebook_size, settings.dimension))
        self.report: Dict[str, Any] = {}
        self._weights_hash: Optional[str] = None

    @property
    def weights_hash(self) -> str:
        """sha256 of the weights file, or of what would be written."""
        return self._weights_hash or hashlib.sha256(self._serialised()).hexdigest()

    def latents(self, wave: Tensor) -> Tensor:
        """Wave [B, S] -> latents [B, D, T] before the quantiser."""
        return self.encoder(wave.unsqueeze(1) * self.settings.input_gain)

    def quantise(self, latents: Tensor) -> Tensor:
        """Latents [B, D, T] -> codes [B, K, T]: each codebook takes the entry nearest to what the ones before it left."""
        batch, _, frames = latents.shape
        residual = latents.transpose(1, 2).flatten(0, 1)  # [B * T, D]
        codes = []
        for codebook in self.codebooks:
            code = nearest(residual, codebook)
            residual = residual - codebook[code]
            codes.append(code.view(batch, frames))
        return torch.stack(codes, dim=1)

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

    def encode_track(
        self, wave: Union[np.ndarray, Tensor], window_s: float = 4.0, context_s: float = 1.0, batch_size: Optional[int] = None
    ) -> np.ndarray:
        """Wave [S] of any length -> codes uint16 [T, K], in windows, so that memory does not grow with the track.

        The encoder is causal, so a window only lacks what lies left of it: it is given `context_s` more and those frames are dropped.
        """
        wave = torch.as_tensor(wave, dtype=torch.float32)
        if not torch.isfinite(wave).all():
            raise MertError("the wave holds samples that are not finite; allowed: finite float32; decode the file again")
        step, context = (max(1, round(seconds * SAMPLE_RATE / HOP)) for seconds in (window_s, context_s))  # frames
        span = (step + context) * HOP
        starts = range(0, max(1, -(-(wave.numel() - span) // (step * HOP)) + 1) * step * HOP, step * HOP)
        windows = [wave[start : start + span] for start in starts]
        batch_size = batch_size or max(1, ACTIVATION_BYTES // (4 * self.settings.n_filters * span))
        full = windows[:-1]
        groups = [torch.stack(full[i : i + batch_size]) for i in range(0, len(full), batch_size)] + [windows[-1][None]]
        device = self.codebooks.device
        codes = [part for group in groups for part in self.encode(group.to(device)).cpu()]  # each [K, T']
        kept = [part if i == 0 else part[:, context:] for i, part in enumerate(codes)]
        return torch.cat(kept, dim=1)[:, : num_code_frames(wave.numel())].T.numpy().astype(np.uint16)

    def _serialised(self) -> bytes:
        return safetensors.torch.save({name: tensor.contiguous() for name, tensor in self.state_dict().items()})

    def save(self, folder: Union[str, Path], report: Optional[Dict[str, Any]] = None) -> None:
        """Write the two files into a new folder beside `folder` and rename it: a folder that is there is complete."""
        folder = check_free(folder)
        weights = self._serialised()
        self.report, self._weights_hash = report or {}, hashlib.sha256(weights).hexdigest()
        config = dict(format=FORMAT, version=VERSION, sha256=self._weights_hash, settings=asdict(self.settings), report=self.report)
        folder.parent.mkdir(parents=True, exist_ok=True)
        written = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        replaced = written.with_name(written.name + ".replaced")
        try:
            written.chmod(0o755)  # mkdtemp's 0700 would hide the teacher from the other users of a cluster
            (written / WEIGHTS_FILE).write_bytes(weights)
            (written / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                os.replace(folder, replaced)
            os.replace(written, folder)
        finally:
            if replaced.exists() and not folder.exists():
                os.replace(replaced, folder)  # the new one could not be put in place: keep the old
            shutil.rmtree(written, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)


def check_free(folder: Union[str, Path]) -> Path:
    """The folder, if a teacher can be written there: new, empty, or holding a teacher that is replaced."""
    folder = Path(folder)
    if folder.exists() and not (folder / CONFIG_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise MertError(f"{folder} holds something else; a teacher wants a new or empty folder: {FIT_COMMAND}")
    return folder


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Index [N] of the centre [V, D] nearest to each point [N, D]; |p|^2 is the same for all centres and left out."""
    return torch.addmm(centres.pow(2).sum(1), points, centres.T, alpha=-2).argmin(dim=1)


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
    config = _read_config(folder / CONFIG_FILE)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise MertError(f"{weights} is missing beside its {CONFIG_FILE}; copy the whole folder again or fit anew: {FIT_COMMAND}")
    found = _sha256(weights)
    if found != config["sha256"]:
        raise MertError(f"{weights} has sha256 {found[:12]}, {CONFIG_FILE} says {str(config['sha256'])[:12]}: cut short or changed; "
                        f"copy the folder again or fit anew: {FIT_COMMAND}")
    model = RVQVAE(RVQVAESettings(**config["settings"]))
    _load_state(model, safetensors.torch.load_file(weights), weights)
    model.report, model._weights_hash = config.get("report", {}), found
    return model.eval()


def _read_config(path: Path) -> Dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found = config["format"], config["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise MertError(f"{path} is not the {CONFIG_FILE} of a teacher ({error!r}); fit one: {FIT_COMMAND}") from error
    if found != (FORMAT, VERSION):
        raise MertError(f"{path} has format {found[0]!r} version {found[1]!r}; this version reads {FORMAT!r} {VERSION}: {FIT_COMMAND}")
    known = {field.name for field in fields(RVQVAESettings)}
    if not isinstance(config.get("settings"), dict) or set(config["settings"]) != known or "sha256" not in config:
        raise MertError(f"{path} lacks sha256 or has other settings than {', '.join(sorted(known))}; fit anew: {FIT_COMMAND}")
    return config


def _load_published(path: Path, bandwidth: float) -> RVQVAE:
    if bandwidth not in CODEBOOKS_OF_BANDWIDTH:
        raise MertError(f"bandwidth {bandwidth} kbps; EnCodec at 24 kHz has {', '.join(map(str, CODEBOOKS_OF_BANDWIDTH))}")
    num_codebooks, found = CODEBOOKS_OF_BANDWIDTH[bandwidth], _sha256(path)
    if not found.startswith(PUBLISHED_SHA256):
        logger.warning("%s has sha256 %s, the published file %s...: not the published weights", path, found[:12], PUBLISHED_SHA256)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # never unpickles code
        codebooks = [state[f"quantizer.vq.layers.{k}._codebook.embed"] for k in range(num_codebooks)]
        state = {name: value for name, value in state.items() if name.startswith(("encoder.", "decoder."))}
        state["codebooks"] = torch.stack(codebooks)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError, TypeError, ValueError) as error:
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


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
