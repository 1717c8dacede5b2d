"""The target store: one folder per split and teacher, sharded, memory-mapped, checked on read.

    LABEL_DIR/train.encodec/shard-00000-of-00004.npy and .json, see `shard`

Shard i of N covers a contiguous range of manifest rows, so N workers need no coordinator; a rerun skips complete shards.
"""

import logging
from pathlib import Path
from typing import Iterator, List, Optional

import numpy as np

from mert_fairseq.data.block_checksums import CheckedFrames, read_sums
from mert_fairseq.data.compact_cqt import from_bytes
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.shard import MAKE_AGAIN, STALE, ShardInfo, check_belonging, open_array, read_info, shard_path, shard_rows
from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import content_hash

logger = logging.getLogger(__name__)

OF_TEACHER = ("width", "num_classes", "teacher", "weights_sha256", "settings")  # what all shards of a store share


def store_folder(label_dir: str, split: str, name: str) -> Path:
    """Folder of one split's targets of one teacher: LABEL_DIR/{split}.{name}."""
    return Path(label_dir) / f"{split}.{name}"


def stores_in(label_dir: str) -> List[Path]:
    """The stores of a folder, {split}.{name} each; refuses one that has none."""
    folder = Path(label_dir)
    stores = sorted(path for path in folder.glob("*.*") if path.is_dir()) if folder.is_dir() else []
    if not stores:
        raise MertError(f"{folder}: no stores {{split}}.{{name}} in it; make them with `mert labels encodec` or `mert labels cqt`")
    return stores


def shards_of(folder: Path) -> List[Path]:
    """All shards' paths (present or not) of a store, in order; the number is read from the names of the JSON files."""
    folder = Path(folder)
    if not folder.is_dir():
        raise MertError(f"{folder}: no such folder of targets; make it with `mert labels` or set task.label_dir and task.labels")
    present = sorted(folder.glob("shard-*-of-*.json"))
    counts = {path.stem.rsplit("-", 1)[1] for path in present}
    if len(counts) != 1 or not all(count.isdigit() for count in counts):
        found = "no complete shard" if not present else f"shards of {len(counts)} different divisions ({sorted(counts)})"
        raise MertError(f"{folder}: {found}; run `mert labels` with one --nshard for all shards")
    num_shards = int(counts.pop())
    return [shard_path(folder, shard, num_shards) for shard in range(num_shards)]


def open_frames(path: Path, info: ShardInfo) -> CheckedFrames:
    """The array of a shard; what is taken out of it is held against its checksums."""
    sums = None if info.block_crc32 is None else read_sums(info.block_crc32, sum(info.frames))
    return CheckedFrames(path, open_array(path, info), sums)


class TargetStore:
    """All shards of one folder, read by manifest row without loading anything.

    Args:
        folder: LABEL_DIR/{split}.{name}.
        manifest: the manifest the targets must belong to.
        kind: "codes" or "cqt".
        frame_rate: Hz that training expects.

    Raises:
        MertError: a shard is missing, truncated, of another manifest, kind or rate; the file is named.
    """

    def __init__(self, folder: Path, manifest: Manifest, kind: str, frame_rate: float):
        self.folder, self.manifest, self.kind = Path(folder), manifest, kind
        self.paths = shards_of(self.folder)
        if len(self.paths) > len(manifest):
            raise MertError(f"{self.paths[0]}: one of {len(self.paths)} shards, the manifest has {len(manifest)} rows: {STALE}")
        self.num_frames = np.empty(len(manifest), np.int32)
        self._offset = np.empty(len(manifest), np.int64)
        self._arrays: List[CheckedFrames] = []
        self._scales: List[Optional[np.ndarray]] = []
        first: Optional[ShardInfo] = None
        for shard, path in enumerate(self.paths):  # one JSON in memory at a time: of 10 million rows they would take gigabytes
            info = read_info(path)
            first = first or info
            check_belonging(path, info, manifest, shard_rows(len(manifest), shard, len(self.paths)), kind, frame_rate)
            self._check_same_teacher(path, info, first)
            self._lay_out(path, info)
        self.width, self.num_classes, self.teacher = first.width, first.num_classes, first.teacher
        self.teacher_hash = content_hash({key: getattr(first, key) for key in OF_TEACHER})
        self._first_row = np.asarray([shard_rows(len(manifest), shard, len(self.paths))[0] for shard in range(len(self.paths))])
        unsummed = sum(not array.has_sums for array in self._arrays)
        if unsummed:
            logger.warning(f"{self.folder}: {unsummed} shards are of an older version, without checksums that training looks at; "
                           "`mert labels check MANIFEST_DIR LABEL_DIR` reads them whole")

    def _lay_out(self, path: Path, info: ShardInfo) -> None:
        """Where each of a shard's rows lies in its array."""
        rows = slice(*info.rows)
        self.num_frames[rows] = info.frames
        self._offset[rows] = np.cumsum(info.frames) - np.asarray(info.frames)
        self._arrays.append(open_frames(path, info))
        self._scales.append(None if info.scale is None else np.asarray(info.scale, np.float32))

    def _check_same_teacher(self, path: Path, info: ShardInfo, first: ShardInfo) -> None:
        for key in OF_TEACHER:
            if getattr(info, key) != getattr(first, key):
                raise MertError(f"{path}: {key} differs from the first shard's; make all shards with one teacher")

    def read(self, row: int, start: int, stop: int) -> np.ndarray:
        """Frames start..stop of one manifest row, [stop - start, width]: a view of the file, or float32 where a CQT is kept as bytes.

        Raises:
            MertError: the row has fewer frames, bytes changed since they were written, or a code is outside its codebook.
        """
        if not 0 <= start <= stop <= self.num_frames[row]:
            held = self.num_frames[row]
            raise MertError(f"{self.folder}: row {row} has {held} frames, {start}..{stop} wanted; run `mert labels check`")
        shard = int(np.searchsorted(self._first_row, row, side="right")) - 1
        first = int(self._offset[row]) + start
        frames = self._arrays[shard][first : first + stop - start]
        if self.num_classes is not None:
            self.check_codes(frames, f"{self.paths[shard]}: row {row}")
        return frames if self._scales[shard] is None else from_bytes(frames, self._scales[shard])

    def check_codes(self, frames: np.ndarray, where: str) -> None:
        """Refuses codes [T, K] that are not below their codebook's size."""
        if len(frames) and (frames.max(axis=0) >= self.num_classes).any():
            codebook = int((frames.max(axis=0) >= self.num_classes).argmax())
            raise MertError(
                f"{where}: code {frames[:, codebook].max()} of codebook {codebook}, 0..{self.num_classes[codebook] - 1} allowed; "
                f"delete the shard and {MAKE_AGAIN}"
            )

    def blocks(self, num_frames: int) -> Iterator[np.ndarray]:
        """All frames in order, at most `num_frames` at a time, [T, width]."""
        for array, scale in zip(self._arrays, self._scales):
            for first in range(0, len(array), num_frames):
                block = array[first : first + num_frames]
                yield block if scale is None else from_bytes(block, scale)
