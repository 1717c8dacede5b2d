"""What a target store holds: how the entries of each codebook are used, and how large the spectra are."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

import numpy as np

from mert_fairseq.data.compact_cqt import from_bytes
from mert_fairseq.data.shard import ShardInfo, read_info
from mert_fairseq.data.target_store import open_frames, shards_of
from mert_fairseq.errors import MertError

BLOCK = 1 << 14  # most frames read at a time
STRETCHES = 256  # that a sample of a shard is spread over
COLLAPSED_PERPLEXITY = 0.05  # of the entries; below it a codebook teaches little
COLLAPSED_DEAD = 0.5  # share of entries never used
MEGABYTE = 1e6


@dataclass
class CodebookStats:
    """Use of one codebook.

    Attributes:
        counts: how often each entry occurs, int64 [V].
        num_repeats: frames whose code is that of the frame before in the same row.
        num_pairs: frames that have a frame before them in the same row.
    """

    counts: np.ndarray
    num_repeats: int = 0
    num_pairs: int = 0

    @property
    def num_used(self) -> int:
        """Entries that occur."""
        return int(np.count_nonzero(self.counts))

    @property
    def num_dead(self) -> int:
        """Entries that do not."""
        return len(self.counts) - self.num_used

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the counts: the number of entries that would give it if used alike; 0 without frames."""
        shares = self.counts[self.counts > 0] / max(1, self.counts.sum())
        return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0

    @property
    def top_share(self) -> float:
        """Share of frames that have the most frequent entry."""
        return float(self.counts.max() / max(1, self.counts.sum()))

    @property
    def repeat_rate(self) -> float:
        """Share of frames that repeat the frame before."""
        return self.num_repeats / max(1, self.num_pairs)

    @property
    def collapsed(self) -> bool:
        """Whether so few entries carry so much that the teacher should be looked at."""
        entries = len(self.counts)
        return self.perplexity < COLLAPSED_PERPLEXITY * entries or self.num_dead > COLLAPSED_DEAD * entries


@dataclass
class SpectrumStats:
    """Size of the CQT magnitudes.

    Attributes:
        sums: of each bin over frames, float64 [Q].
        maxima: of each bin, float64 [Q].
        num_zero: frames without any magnitude.
    """

    sums: np.ndarray
    maxima: np.ndarray
    num_zero: int = 0


@dataclass
class StoreStats:
    """A store, its codebooks or its spectrum.

    Attributes:
        num_frames: of the whole store.
        num_read: frames that the figures below come from; fewer if a limit was given.
        num_bytes: of the shards on disk.
    """

    folder: Path
    info: ShardInfo  # of the first shard
    num_shards: int
    num_rows: int = 0
    num_empty: int = 0
    num_frames: int = 0
    num_read: int = 0
    num_bytes: int = 0
    codebooks: List[CodebookStats] = field(default_factory=list)
    spectrum: Optional[SpectrumStats] = None

    @property
    def split(self) -> str:
        """`train` of `train.encodec`."""
        return self.folder.name.partition(".")[0]

    @property
    def name(self) -> str:
        """`encodec` of `train.encodec`."""
        return self.folder.name.partition(".")[2]

    @property
    def hours(self) -> float:
        """Length of the whole store."""
        return self.num_frames / self.info.frame_rate / 3600

    @property
    def megabytes_per_hour(self) -> float:
        """On disk, 10^6 bytes."""
        return self.num_bytes / MEGABYTE / self.hours if self.num_frames else 0.0


def store_stats(folder: Path, sample_hours: Optional[float] = None) -> StoreStats:
    """Reads a store in blocks, or `sample_hours` of it in stretches spread over all of it.

    Raises:
        MertError: a shard is missing or damaged, or holds codes outside its codebooks.
    """
    paths = shards_of(folder)
    stats = StoreStats(Path(folder), read_info(paths[0]), len(paths))
    for path in paths:  # one description in memory at a time: of millions of rows they are large
        _add_sizes(stats, path, read_info(path))
    if stats.info.kind == "codes":
        stats.codebooks = [CodebookStats(np.zeros(size, np.int64)) for size in stats.info.num_classes]
    else:
        stats.spectrum = SpectrumStats(np.zeros(stats.info.width), np.zeros(stats.info.width))
    share = 1.0 if sample_hours is None else min(1.0, sample_hours / max(stats.hours, 1e-12))
    for path in paths:
        _add_shard(stats, path, read_info(path), share)
    return stats


def _add_sizes(stats: StoreStats, path: Path, info: ShardInfo) -> None:
    for key in ("kind", "width", "num_classes", "frame_rate"):
        if getattr(info, key) != getattr(stats.info, key):
            raise MertError(f"{path}: {key} differs from the first shard's; make all shards with one teacher")
    stats.num_rows += len(info.frames)
    stats.num_empty += info.frames.count(0)
    stats.num_frames += sum(info.frames)
    stats.num_bytes += sum(file.stat().st_size for file in (path, path.with_suffix(".json")) if file.exists())


def _add_shard(stats: StoreStats, path: Path, info: ShardInfo, share: float) -> None:
    array = open_frames(path, info)
    first_frames = np.cumsum([0, *info.frames])  # of the rows
    for first, stop in _stretches(len(array), share):
        block = np.asarray(array[first:stop])
        stats.num_read += len(block)
        if stats.spectrum is not None:
            _add_spectrum(stats.spectrum, block if info.scale is None else from_bytes(block, np.asarray(info.scale)))
            continue
        ahead = np.asarray(array[first + 1 : stop + 1])
        within = np.ones(len(ahead), bool)  # frame first + 1 + i is in the row of the frame before
        within[first_frames[(first_frames > first) & (first_frames <= first + len(ahead))] - first - 1] = False
        for codebook, tally in enumerate(stats.codebooks):
            _add_codes(tally, block[:, codebook], ahead[:, codebook], within, f"{path}: codebook {codebook}")


def _stretches(num_frames: int, share: float) -> Iterator[Tuple[int, int]]:
    """First frame and one past the last of what to read of a shard: all of it in blocks, or a share in evenly spaced stretches."""
    wanted = math.ceil(share * num_frames)
    length = BLOCK if share >= 1 else min(BLOCK, max(1, wanted // STRETCHES))
    number = -(-wanted // length)
    for place in range(number):
        first, following = place * num_frames // number, (place + 1) * num_frames // number
        yield first, min(first + length, following)


def _add_codes(tally: CodebookStats, codes: np.ndarray, ahead: np.ndarray, within: np.ndarray, where: str) -> None:
    entries = len(tally.counts)
    if codes.max() >= entries:
        raise MertError(f"{where}: code {codes.max()}, 0 to {entries - 1} allowed; `mert labels check` names all that is wrong")
    tally.counts += np.bincount(codes, minlength=entries)
    tally.num_repeats += int(((codes[: len(ahead)] == ahead) & within).sum())
    tally.num_pairs += int(within.sum())


def _add_spectrum(spectrum: SpectrumStats, magnitudes: np.ndarray) -> None:
    values = magnitudes.astype(np.float64)
    spectrum.sums += values.sum(axis=0)
    spectrum.maxima = np.maximum(spectrum.maxima, values.max(axis=0))
    spectrum.num_zero += int((~values.any(axis=1)).sum())
