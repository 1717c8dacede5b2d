"""From manifest to target store: runs a teacher over every row and writes shards."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import numpy as np

from mert_fairseq.data.audio import AudioError, read_audio
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.target_store import ShardInfo, open_array, read_info, shard_path, shard_rows, write_shard
from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE
from mert_fairseq.teachers.cqt import CQTConfig, FastCQT, cqt_track
from mert_fairseq.teachers.rvqvae import load_teacher

logger = logging.getLogger(__name__)


@dataclass
class Labeller:
    """A teacher as the dump sees it.

    Attributes:
        label: a track's wave [S] -> targets [T, width].
        num_classes: entries of each codebook; None for CQT.
    """

    kind: str
    teacher: str
    width: int
    label: Callable[[np.ndarray], np.ndarray]
    num_classes: Optional[List[int]] = None
    settings: Dict[str, Any] = field(default_factory=dict)
    weights_sha256: Optional[str] = None


def encodec_labeller(weights: Optional[str], bandwidth: Optional[float]) -> Labeller:
    """RVQ-VAE codes: a folder of `mert teacher fit rvqvae`, or EnCodec's published 24 kHz weights (folder or torch hub cache)."""
    teacher = load_teacher(weights, bandwidth)
    sizes = [teacher.codebook_size] * teacher.num_codebooks
    settings = _plain(teacher.settings)
    return Labeller("codes", teacher.name, len(sizes), teacher.encode_track, sizes, settings, teacher.weights_hash)


def cqt_labeller() -> Labeller:
    """Constant-Q magnitudes of whole tracks, so that a crop's edges see their true context; kept as float16."""
    config = CQTConfig()
    transform = FastCQT(config)
    return Labeller("cqt", "cqt", config.num_bins, lambda wave: cqt_track(wave, transform), settings=_plain(config))


def _plain(settings: Any) -> Dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(settings).items()}


def write_labels(
    manifest: Manifest,
    folder: Path,
    labeller: Labeller,
    num_shards: int,
    shards: Sequence[int],
    allow_bad: int = 0,
    advance: Callable[[int], None] = lambda num_samples: None,
) -> int:
    """Writes the given shards, skipping those that are complete; returns how many were written.

    Args:
        allow_bad: damaged files that may become empty rows, each noted in the shard's JSON.
        advance: called with the samples of each row done.

    Raises:
        MertError: after all the rest is done, if more files were damaged than allowed; each is named.
    """
    _refuse_other_division(folder, num_shards)
    bad: List[str] = []
    written = 0
    for shard in shards:
        path = shard_path(folder, shard, num_shards)
        info = _describe(manifest, labeller, shard, num_shards)
        if _complete(path, info):
            advance(int(manifest.num_samples[slice(*info.rows)].sum()))
            continue
        try:
            write_shard(path, info, _label_rows(manifest, labeller, info, bad, allow_bad, advance))
            written += 1
        except _TooManyBad:
            logger.error(f"{path.name} not written")
    if len(bad) > allow_bad:
        raise MertError(f"{len(bad)} damaged files ({allow_bad} allowed by --allow-bad): {'; '.join(bad)}")
    return written


class _TooManyBad(Exception):
    """A shard has damaged files that are not allowed; what was written of it is given up."""


def _refuse_other_division(folder: Path, num_shards: int) -> None:
    """Shards of two divisions in one folder cannot be read; said before hours of work rather than after."""
    others = [path for path in folder.glob("shard-*-of-*.json") if path.stem.rsplit("-", 1)[1] != f"{num_shards:05d}"]
    if others:
        mend = "give the same --nshard or delete the folder"
        raise MertError(f"{folder}: holds {min(others).stem}, --nshard {num_shards} given; {mend}")


def _label_rows(manifest, labeller, info, bad, allow_bad, advance) -> Iterator[np.ndarray]:
    """The rows of a shard, one in memory at a time; raises _TooManyBad behind the last one, when all damaged ones are known."""
    limit = max(allow_bad, len(bad))  # a damaged file of an earlier shard does not stop this one
    for row in range(*info.rows):
        try:
            wave = read_audio(manifest.path(row))
        except AudioError as error:
            bad.append(f"row {row}: {error}")
            info.notes.setdefault("bad_rows", {})[str(row)] = str(error)
            yield np.zeros((0, labeller.width))
        else:
            if len(bad) <= limit:
                yield labeller.label(wave)
        advance(int(manifest.num_samples[row]))
    if len(bad) > limit:
        raise _TooManyBad


def _describe(manifest: Manifest, labeller: Labeller, shard: int, num_shards: int) -> ShardInfo:
    rows = shard_rows(len(manifest), shard, num_shards)
    return ShardInfo(
        kind=labeller.kind,
        teacher=labeller.teacher,
        width=labeller.width,
        frame_rate=float(FRAME_RATE),
        rows=rows,
        frames=[],
        num_classes=labeller.num_classes,
        settings=labeller.settings,
        weights_sha256=labeller.weights_sha256,
        manifest_sha256=manifest.rows_hash(*rows),
    )


def _complete(path: Path, wanted: ShardInfo) -> bool:
    """Whether the shard is there; refuses one of another teacher or manifest rather than mixing or overwriting it."""
    if not (path.is_file() and path.with_suffix(".json").is_file()):
        return False
    present = read_info(path)
    for key in ("kind", "teacher", "weights_sha256", "manifest_sha256", "num_classes", "settings"):
        if getattr(present, key) != getattr(wanted, key):
            raise MertError(f"{path}: present, but its {key} is another; delete {path.parent} or write to another --name")
    open_array(path, present)
    return True
