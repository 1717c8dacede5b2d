"""Teachers that cluster spectral features: k-means (one codebook) and Mel-RVQ (residual k-means, eight).

A teacher is the features' settings and codebooks [K, V, F]; each codebook takes the entry nearest to what the ones before left.

* `mert-kmeans`: the paper's K-means model has two of them, log-mel with 300 clusters and chroma with 200, each a label stream;
  MFCC are HuBERT's. One codebook, fitted by scikit-learn's mini-batches.
* `mert-melrvq`: residual k-means over 80 log-mel bands, 8 codebooks of 1,024.
"""

import dataclasses
import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional, Union

import numpy as np
import torch
from torch import Tensor

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.frame_features import FeatureConfig, FrameFeatures
from mert_fairseq.teachers.residual_kmeans import residual_codes
from mert_fairseq.teachers.teacher_folder import FIT_COMMANDS, WEIGHTS_FILE, read_config, read_weights, serialise, write_teacher

KMEANS, MELRVQ = "mert-kmeans", "mert-melrvq"
BLOCK_FRAMES = 4096  # quantised at a time


@dataclass
class ClusterTeacher:
    """Wave [S] -> codes uint16 [S // 320 + 1, K].

    Attributes:
        format_name: which kind of teacher its folder says it is.
        features: what is clustered.
        codebooks: [K, V, F] float32.
        report: held-out figures of its fit.
    """

    format_name: str
    features: FeatureConfig
    codebooks: Tensor
    report: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.codebooks.dim() != 3 or self.codebooks.shape[2] != self.features.num_features:
            needed = f"[K, V, {self.features.num_features}] for {self.features.kind}"
            raise MertError(f"codebooks {list(self.codebooks.shape)}; needed: {needed}")
        self._extract = FrameFeatures(self.features)

    @property
    def name(self) -> str:
        """As the shards name it: logmel_kmeans, chroma_kmeans, mfcc_kmeans or melrvq."""
        return "melrvq" if self.format_name == MELRVQ else f"{self.features.kind}_kmeans"

    @property
    def num_codebooks(self) -> int:
        """K."""
        return self.codebooks.shape[0]

    @property
    def codebook_size(self) -> int:
        """V."""
        return self.codebooks.shape[1]

    @property
    def weights_hash(self) -> str:
        """sha256 of the weights file."""
        return hashlib.sha256(serialise({"codebooks": self.codebooks})).hexdigest()

    def encode_track(self, wave: np.ndarray) -> np.ndarray:
        """Codes uint16 [S // 320 + 1, K] of a wave [S]; an empty wave gives an empty array."""
        if len(wave) == 0:
            return np.zeros((0, self.num_codebooks), np.uint16)
        frames = torch.from_numpy(self._extract(wave))
        # Blocks of one length, the last filled up: a frame's code does not depend on how many come with it.
        padded = torch.nn.functional.pad(frames, (0, 0, 0, -len(frames) % BLOCK_FRAMES))
        codes = torch.cat([residual_codes(block, self.codebooks) for block in padded.split(BLOCK_FRAMES)])
        return codes[: len(frames)].numpy().astype(np.uint16)

    def save(self, folder: Union[str, Path]) -> None:
        """Writes the teacher's folder; one that is there is replaced."""
        write_teacher(folder, self.format_name, serialise({"codebooks": self.codebooks}), asdict(self.features), self.report)


def load_cluster_teacher(folder: Optional[str], format_name: str) -> ClusterTeacher:
    """The teacher of one format in `folder`; its hash is checked."""
    if folder is None:
        raise MertError(f"--weights is needed: a folder of `{FIT_COMMANDS[format_name]}`")
    config = read_config(Path(folder), (format_name,), {item.name: item for item in dataclasses.fields(FeatureConfig)})
    weights = read_weights(Path(folder), config)
    if "codebooks" not in weights:
        raise MertError(f"{Path(folder) / WEIGHTS_FILE} holds no codebooks; fit anew: {FIT_COMMANDS[format_name]}")
    return ClusterTeacher(format_name, FeatureConfig(**config["settings"]), weights["codebooks"].float(), config.get("report", {}))
