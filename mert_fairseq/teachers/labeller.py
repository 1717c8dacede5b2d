"""Teachers as the dump sees them: waves in, targets out, and what the shards say about them."""

import os
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

import numpy as np
import torch

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.cluster_teacher import KMEANS, MELRVQ, load_cluster_teacher
from mert_fairseq.teachers.cqt import FastCQT, cqt_track
from mert_fairseq.teachers.cqt_kernels import CQTConfig
from mert_fairseq.teachers.rvqvae import load_teacher
from mert_fairseq.teachers.windowed_encoding import WindowedEncoder


@dataclass
class Labeller:
    """One teacher, ready to label.

    Attributes:
        kind: "codes" or "cqt".
        width: K codebooks or Q bins.
        label_tracks: waves [S] -> targets [T, width], in order; a wave of no samples (a damaged file) gives an empty array.
        num_classes: entries of each codebook; None for CQT.
        settings: what fixes the values; shards that differ in it are not mixed.
        compact: keep CQT as uint8.
        measure: of one wave, how far its labels are from the exact ones; noted in the shard's JSON.
        made_by: what `mert labels` was told, for `mert labels check --repair`.
    """

    kind: str
    teacher: str
    width: int
    label_tracks: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]
    num_classes: Optional[List[int]] = None
    settings: Dict[str, Any] = field(default_factory=dict)
    weights_sha256: Optional[str] = None
    compact: bool = False
    measure: Optional[Callable[[np.ndarray], Dict[str, float]]] = None
    made_by: Dict[str, Any] = field(default_factory=dict)


def encodec_labeller(
    weights: Optional[str], bandwidth: Optional[float] = None, precision: str = "float32", device: str = "cpu"
) -> Labeller:
    """RVQ-VAE codes: a folder of `mert teacher fit rvqvae`, or EnCodec's published 24 kHz weights (folder or torch hub cache)."""
    teacher = load_teacher(weights, bandwidth).to(_device(device))
    encoder = WindowedEncoder(teacher, precision)
    settings = asdict(teacher.settings) | ({"precision": precision} if precision != "float32" else {})
    made_by = {"kind": "encodec", "weights": _place(weights), "bandwidth": bandwidth, "precision": precision}
    sizes = [teacher.codebook_size] * teacher.num_codebooks
    return Labeller("codes", teacher.name, len(sizes), encoder, sizes, settings, teacher.weights_hash, measure=encoder.mismatch,
                    made_by=made_by)


def cluster_labeller(kind: str, weights: Optional[str]) -> Labeller:
    """Codes of a folder of `mert teacher fit kmeans` (kind "kmeans") or `... melrvq` (kind "melrvq")."""
    teacher = load_cluster_teacher(weights, {"kmeans": KMEANS, "melrvq": MELRVQ}[kind])
    sizes = [teacher.codebook_size] * teacher.num_codebooks
    return Labeller("codes", teacher.name, len(sizes), lambda waves: map(teacher.encode_track, waves), sizes, asdict(teacher.features),
                    teacher.weights_hash, made_by={"kind": kind, "weights": _place(weights)})


def cqt_labeller(dtype: str = "float16") -> Labeller:
    """Constant-Q magnitudes of whole tracks, so that a crop's edges see their true context; kept as float16 or uint8."""
    if dtype not in ("float16", "uint8"):
        raise MertError(f"--dtype {dtype}; allowed: float16, uint8")
    config = CQTConfig()
    transform = FastCQT(config)

    def label_tracks(waves: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for wave in waves:
            yield cqt_track(wave, transform) if len(wave) else np.zeros((0, config.num_bins), np.float32)

    settings = asdict(config) | ({"dtype": dtype} if dtype != "float16" else {})
    return Labeller("cqt", "cqt", config.num_bins, label_tracks, settings=settings, compact=dtype == "uint8",
                    made_by={"kind": "cqt", "dtype": dtype})


def labeller_of(made_by: Dict[str, Any]) -> Labeller:
    """The labeller that a shard's `made_by` names. Raises MertError for one that cannot be made again (imported labels)."""
    makers = {"encodec": encodec_labeller, "cqt": cqt_labeller}
    options = {key: value for key, value in made_by.items() if key != "kind"}
    kind = made_by.get("kind")
    if kind in ("kmeans", "melrvq"):
        return cluster_labeller(kind, **options)
    if kind not in makers:
        raise MertError(f"made by {made_by or 'another program'}: not one of encodec, kmeans, melrvq, cqt; make it again by its command")
    return makers[kind](**options)


def _place(weights: Optional[str]) -> Optional[str]:
    """The weights' folder as it can be found from any other folder."""
    return None if weights is None else os.path.abspath(weights)


def _device(name: str) -> torch.device:
    """The device, if this machine has it."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index.isdecimal() or index == ""):
        raise MertError(f"--device {name}; allowed: cpu, cuda, cuda:0 ...")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise MertError(f"--device {name}: torch finds {torch.cuda.device_count()} CUDA devices here; use one of them, or --device cpu")
    return torch.device(name)
