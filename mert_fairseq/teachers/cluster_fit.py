"""Fit the clustering teachers: a bounded sample of frames, then k-means on it; figures on held-out tracks."""

import time
from dataclasses import asdict, dataclass
from typing import List, Sequence

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP
from mert_fairseq.teachers.clip_sampler import ClipSampler, Track
from mert_fairseq.teachers.cluster_teacher import KMEANS, MELRVQ, ClusterTeacher
from mert_fairseq.teachers.code_statistics import code_statistics
from mert_fairseq.teachers.frame_features import FEATURES, FrameFeatures
from mert_fairseq.teachers.residual_kmeans import fit_codebooks, residual_codes

CLUSTERS = {"logmel": 300, "chroma": 200, "mfcc": 100}  # MERT paper section 4.2; HuBERT's first iteration
CLIP_FRAMES = 300  # 4 s, of which the sample is made
EDGE_FRAMES = 8  # at a clip's ends, without their context


@dataclass(frozen=True)
class ClusterFitSettings:
    """How a teacher is fitted; a seed gives the same codebooks again."""

    num_frames: int = 200_000  # of the sample, 44 minutes: 183 MB of 229 features, whatever the corpus
    heldout_frames: int = 20_000
    iterations: int = 12  # of residual k-means
    batch_size: int = 8192  # frames of a mini-batch; MiniBatchKMeans advises at least 256 per core
    num_starts: int = 5  # of mini-batch k-means, the best kept
    seed: int = 1


@dataclass
class ClusterReport:
    """Held-out figures; lists have one number per codebook."""

    perplexity: List[float]  # exp(entropy) of the codes, at most V
    top_share: List[float]  # share of the most frequent code
    repeat_rate: List[float]  # share of frames with the code of the frame before
    residual_energy: List[float]  # left after each codebook, over the variance of the features
    num_frames: int  # fitted on
    seconds: float


def sample_features(tracks: Sequence[Track], features: FrameFeatures, num_frames: int, seed: int) -> Tensor:
    """[at most num_frames, F] from random clips, each second of music equally likely."""
    clips = ClipSampler(tracks, seed)
    if clips.num_frames == 0:
        raise MertError("no audio to fit on; check the manifest: mert manifest AUDIO_DIR OUT")
    num_frames, filled = min(num_frames, clips.num_frames), 0
    sample = torch.empty(num_frames, features.config.num_features)
    while filled < num_frames:
        frames = features(clips.clip(CLIP_FRAMES * HOP))
        frames = frames[EDGE_FRAMES:-EDGE_FRAMES] if len(frames) > 4 * EDGE_FRAMES else frames
        frames = frames[: num_frames - filled]
        sample[filled : filled + len(frames)] = torch.from_numpy(frames)
        filled += len(frames)
    return sample


def fit_kmeans(
    tracks: Sequence[Track], heldout: Sequence[Track], kind: str, num_clusters: int, settings: ClusterFitSettings
) -> ClusterTeacher:
    """One codebook of `num_clusters` entries over logmel, chroma or mfcc features."""
    started, features = time.monotonic(), FrameFeatures(FEATURES[kind])
    sample = sample_features(tracks, features, settings.num_frames, settings.seed)
    _check_enough(len(sample), num_clusters)
    estimator = MiniBatchKMeans(num_clusters, batch_size=settings.batch_size, n_init=settings.num_starts, max_iter=100,
                                max_no_improvement=20, random_state=settings.seed)
    centres = estimator.fit(sample.numpy()).cluster_centers_
    codebooks = torch.from_numpy(np.ascontiguousarray(centres, np.float32))[None]
    return _measured(ClusterTeacher(KMEANS, features.config, codebooks), heldout, settings, len(sample), started)


def fit_melrvq(
    tracks: Sequence[Track], heldout: Sequence[Track], num_codebooks: int, codebook_size: int, settings: ClusterFitSettings
) -> ClusterTeacher:
    """Residual k-means over 80 log-mel bands."""
    started, features = time.monotonic(), FrameFeatures(FEATURES["melrvq"])
    sample = sample_features(tracks, features, settings.num_frames, settings.seed)
    _check_enough(len(sample), codebook_size)
    generator = torch.Generator().manual_seed(settings.seed)
    codebooks = fit_codebooks(sample, num_codebooks, codebook_size, settings.iterations, generator)
    return _measured(ClusterTeacher(MELRVQ, features.config, codebooks), heldout, settings, len(sample), started)


def _check_enough(num_frames: int, num_clusters: int) -> None:
    if num_frames < num_clusters:
        raise MertError(f"{num_frames} frames of music for {num_clusters} clusters; give more music or fewer clusters")


def _measured(
    teacher: ClusterTeacher, heldout: Sequence[Track], settings: ClusterFitSettings, num_frames: int, started: float
) -> ClusterTeacher:
    """The teacher with its report."""
    sample = sample_features(heldout, FrameFeatures(teacher.features), settings.heldout_frames, settings.seed)
    codes = residual_codes(sample, teacher.codebooks)
    partial = torch.stack([teacher.codebooks[k][codes[:, k]] for k in range(teacher.num_codebooks)]).cumsum(0)
    left = (sample - partial).pow(2).sum((1, 2)) / (sample - sample.mean(0)).pow(2).sum()
    statistics = code_statistics(codes.T[None], teacher.codebook_size)
    teacher.report = asdict(ClusterReport(*statistics, left.tolist(), num_frames, round(time.monotonic() - started, 1)))
    return teacher
