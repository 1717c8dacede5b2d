"""Codes of other programs into the target store: HuBERT's text labels, the published MERT label files, and numpy arrays."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, List, Sequence, Union

import numpy as np

from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.part_files import remove_abandoned
from mert_fairseq.data.shard import ShardInfo, shard_path, shard_rows, write_shard
from mert_fairseq.errors import MertError
from mert_fairseq.frames import frame_span
from mert_fairseq.teachers.label_arrays import FolderLabels
from mert_fairseq.teachers.label_files import LabelFiles
from mert_fairseq.teachers.labelling import is_complete, refuse_other_division

TEACHER = "imported"  # name that the stores carry
SHOWN = 5  # rows listed in a refusal


@dataclass
class Imported:
    """What was done.

    Attributes:
        written: shards.
        bad: rows without codes, each with its place.
        num_short: rows one frame short, whose last frame was repeated.
    """

    written: int = 0
    bad: List[str] = field(default_factory=list)
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
        allow_bad: rows without codes that may become empty rows, each noted in the shard's JSON.
        advance: called with the samples of each row done.

    Raises:
        MertError: at once for a row whose frames do not cover its audio; at the end for more rows without codes than allowed.
    """
    refuse_other_division(folder, num_shards)
    remove_abandoned(folder)
    done = Imported()
    for shard in shards:
        path = shard_path(folder, shard, num_shards)
        info = _describe(manifest, source, label_rate, shard, num_shards)
        if is_complete(path, info):
            advance(int(manifest.num_samples[slice(*info.rows)].sum()))
            continue
        try:
            write_shard(path, info, _checked_rows(manifest, source, info, done, allow_bad, advance))
            done.written += 1
        except _TooManyBad:
            continue  # the other shards are written, and their rows counted, before the refusal
    if len(done.bad) > allow_bad:
        listed = "; ".join(done.bad[:SHOWN]) + ("; ..." if len(done.bad) > SHOWN else "")
        raise MertError(f"{len(done.bad)} rows without codes ({allow_bad} allowed by --allow-bad): {listed}")
    return done


class _TooManyBad(Exception):
    """A shard has more rows without codes than allowed; what was written of it is given up."""


def _checked_rows(manifest, source, info: ShardInfo, done: Imported, allow_bad: int, advance) -> Iterator[np.ndarray]:
    limit = max(allow_bad, len(done.bad))  # rows of an earlier shard do not stop this one
    for row, codes in zip(range(*info.rows), source.rows(*info.rows)):
        if len(codes) == 0:
            done.bad.append(f"row {row}: {source.where(row)}: no codes")
            info.notes.setdefault("bad_rows", {})[str(row)] = f"{source.where(row)}: no codes"
        elif len(codes) != len(fitted := _fitted(manifest, source, row, codes, info.frame_rate)):
            done.num_short += 1
            info.notes["rows_one_frame_short"] = info.notes.get("rows_one_frame_short", 0) + 1
            codes = fitted
        yield codes
        advance(int(manifest.num_samples[row]))
    if len(done.bad) > limit:
        raise _TooManyBad


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


def _describe(manifest: Manifest, source, label_rate: float, shard: int, num_shards: int) -> ShardInfo:
    rows = shard_rows(len(manifest), shard, num_shards)
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
