"""Codes of other programs into the target store: HuBERT's text labels, the published MERT label files, and numpy arrays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Sequence, Tuple, Union

import numpy as np

from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.shard import ShardInfo
from mert_fairseq.errors import MertError
from mert_fairseq.frames import frame_span
from mert_fairseq.teachers.label_arrays import FolderLabels
from mert_fairseq.teachers.label_files import LabelFiles
from mert_fairseq.teachers.shard_dump import BadRows, dump_shards

TEACHER = "imported"  # name that the stores carry


@dataclass
class Imported:
    """What was done.

    Attributes:
        written: shards.
        num_bad: rows without codes.
        num_short: rows one frame short, whose last frame was repeated.
    """

    written: int = 0
    num_bad: int = 0
    num_short: int = 0


def import_labels(
    manifest: Manifest,
    folder: Path,
    source: Union[LabelFiles, FolderLabels],
    label_rate: float,
    num_shards: int,
    shards: Sequence[int],
    allow_bad: int = 0,
    advance: Callable[[int], None] = lambda num_samples: None,
) -> Imported:
    """Writes the given shards, skipping those that are complete.

    Args:
        label_rate: Hz; kept as the store's frame rate.
        allow_bad: rows without codes of the whole store that may become empty rows, each noted in its shard's JSON.
        advance: called with the samples of each row done.

    Raises:
        MertError: at once for a row whose frames do not cover its audio.
        DamagedFiles: after all the rest is done, for more rows without codes than allowed.
    """
    bad, done = BadRows(folder, allow_bad, "rows without codes"), Imported()

    def rows_of(info: ShardInfo, path: Path) -> Iterator[np.ndarray]:
        """A shard's codes."""
        return _checked_rows(manifest, source, info, done, bad, advance)

    def info_of(rows: Tuple[int, int]) -> ShardInfo:
        """What a shard says of itself."""
        return _describe(manifest, source, label_rate, rows)

    done.written = dump_shards(manifest, folder, num_shards, shards, info_of, rows_of, bad, advance)
    done.num_bad = len(bad.rows)
    return done


def _checked_rows(manifest, source, info: ShardInfo, done: Imported, bad: BadRows, advance) -> Iterator[np.ndarray]:
    for row, codes in zip(range(*info.rows), source.rows(*info.rows)):
        if len(codes) == 0:
            bad.add(info, row, f"{source.where(row)}: no codes")
        elif len(codes) != len(fitted := _fitted(manifest, source, row, codes, info.frame_rate)):
            done.num_short += 1
            info.notes["rows_one_frame_short"] = info.notes.get("rows_one_frame_short", 0) + 1
            codes = fitted
        yield codes
        advance(int(manifest.num_samples[row]))


def _fitted(manifest: Manifest, source, row: int, codes: np.ndarray, label_rate: float) -> np.ndarray:
    """The codes [T, K] if T is floor .. ceil + 1 of the audio's frames; with the last repeated if one is missing.

    One less is what codes of an unpadded convolution stack have, and training asks for the whole floor (120,000 samples: 374, 375).
    """
    num_samples = int(manifest.num_samples[row])
    low, high = frame_span(num_samples, label_rate)
    if low <= len(codes) <= high + 1:
        return codes
    if len(codes) == low - 1:
        return np.concatenate([codes, codes[-1:]])
    needed = f"its {num_samples} samples need {low} to {high + 1} at {label_rate:g} Hz"
    mend = "check --label-rate, and that the manifest is the labels' own with lengths at 24 kHz"
    raise MertError(f"{source.where(row)}: row {row} ({manifest.relative_path(row)}) has {len(codes)} frames, {needed}; {mend}")


def _describe(manifest: Manifest, source, label_rate: float, rows: Tuple[int, int]) -> ShardInfo:
    return ShardInfo(
        kind="codes",
        teacher=TEACHER,
        width=source.width,
        frame_rate=float(label_rate),
        rows=rows,
        frames=[],
        num_classes=source.num_classes,
        settings={**source.settings, "label_rate": float(label_rate)},
        weights_sha256=None,
        manifest_sha256=manifest.rows_hash(*rows),
    )
