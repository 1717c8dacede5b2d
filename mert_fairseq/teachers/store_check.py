"""Verification of a whole store: every shard's description, size, hash and range of codes, several shards at once; and its repair."""

import hashlib
import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.shard import ShardInfo, check_belonging, open_array, read_info, shard_rows
from mert_fairseq.data.target_store import shards_of
from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE, HOP
from mert_fairseq.teachers.labeller import labeller_of
from mert_fairseq.teachers.labelling import write_labels

BLOCK = 1 << 16  # frames read at a time


@dataclass
class ShardCheck:
    """One shard as found; `fault` is None for a sound one."""

    path: Path
    info: Optional[ShardInfo] = None  # without its list of frames
    fault: Optional[str] = None
    stale: bool = False  # the fault is that it belongs to another manifest
    frames: int = 0
    empty_rows: int = 0


@dataclass
class StoreCheck:
    """What was found; no faults means the store can be trained on."""

    shards: List[ShardCheck] = field(default_factory=list)
    faults: List[str] = field(default_factory=list)  # of the shards, and of the store as a whole

    @property
    def frames(self) -> int:
        """Frames of all sound shards."""
        return sum(shard.frames for shard in self.shards if shard.fault is None)

    @property
    def empty_rows(self) -> int:
        """Rows without targets in the sound shards."""
        return sum(shard.empty_rows for shard in self.shards if shard.fault is None)

    @property
    def kind(self) -> str:
        """What the store holds, as its first readable shard says."""
        return next((f"{shard.info.teacher} x {shard.info.width}" for shard in self.shards if shard.info is not None), "?")

    @property
    def broken(self) -> List[int]:
        """Numbers of the faulty shards."""
        return [number for number, shard in enumerate(self.shards) if shard.fault is not None]


def check_store(
    folder: Path, manifest: Manifest, workers: Optional[int] = None, advance: Callable[[], None] = lambda: None
) -> StoreCheck:
    """Reads everything; every faulty shard is named with the way to mend it. `advance` is called after each shard."""
    try:
        paths = shards_of(folder)
        if len(paths) > len(manifest):
            raise MertError(f"{folder}: {len(paths)} shards, the manifest has {len(manifest)} rows; delete it and run `mert labels` again")
    except MertError as error:
        return StoreCheck(faults=[str(error)])
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # hashing and reading leave Python's lock to the others
        numbers = range(len(paths))
        shards = []
        for shard in pool.map(lambda n: _check_shard(paths[n], manifest, shard_rows(len(manifest), n, len(paths))), numbers):
            shards.append(shard)
            advance()
    _check_one_teacher(shards)
    return StoreCheck(shards, [shard.fault for shard in shards if shard.fault is not None])


def _check_shard(path: Path, manifest: Manifest, rows) -> ShardCheck:
    """One shard whose description fits the manifest, whose bytes have the recorded hash and whose codes are in range."""
    found = ShardCheck(path)
    try:
        found.info = info = read_info(path)
        found.stale = True
        check_belonging(path, info, manifest, rows, None, float(FRAME_RATE))
        found.stale = False
        _check_frames(path, info, manifest)
        _check_bytes(path, info)
        found.frames, found.empty_rows = sum(info.frames), info.frames.count(0)
    except MertError as error:
        found.fault = str(error)
    if found.info is not None:
        found.info.frames = []  # of ten million rows they would take hundreds of megabytes
    return found


def _check_frames(path: Path, info: ShardInfo, manifest: Manifest) -> None:
    """Every row that is not empty must cover its audio, as training wants it."""
    frames, needed = np.asarray(info.frames), manifest.num_samples[slice(*info.rows)] // HOP
    short = np.flatnonzero((frames > 0) & (frames < needed))
    if len(short):
        row = info.rows[0] + int(short[0])
        raise MertError(f"{path}: row {row} has {frames[short[0]]} frames, its audio needs {needed[short[0]]}; delete it and run "
                        "`mert labels` again")


def _check_bytes(path: Path, info: ShardInfo) -> None:
    array = open_array(path, info)
    digest = hashlib.sha256()
    for first in range(0, len(array), BLOCK):
        block = np.ascontiguousarray(array[first : first + BLOCK])
        digest.update(block.data)
        if info.num_classes is not None and (block.max(axis=0) >= info.num_classes).any():
            raise MertError(f"{path}: a code is not below {info.num_classes}; delete it and run `mert labels` again")
        if info.num_classes is None and not np.isfinite(block).all():
            raise MertError(f"{path}: values that are not finite; delete it and run `mert labels` again")
    if digest.hexdigest() != info.data_sha256:
        raise MertError(f"{path}: its bytes changed since it was written (sha256 differs); delete it and run `mert labels` again")


def _check_one_teacher(shards: List[ShardCheck]) -> None:
    """The shards that most others disagree with on the teacher are faulty."""
    signatures = {number: _signature(shard.info) for number, shard in enumerate(shards) if shard.info is not None}
    if not signatures:
        return
    most = Counter(signatures.values()).most_common(1)[0][0]
    for number, signature in signatures.items():
        if signature != most and shards[number].fault is None:
            shards[number].fault = f"{shards[number].path}: teacher, settings or weights differ from most shards'; make it again"


def _signature(info: ShardInfo) -> str:
    return json.dumps([info.kind, info.teacher, info.width, info.num_classes, info.settings, info.weights_sha256], sort_keys=True)


def repair_store(
    folder: Path, manifest: Manifest, found: StoreCheck, allow_bad: int = 0, advance: Callable[[int], None] = lambda num_samples: None
) -> int:
    """Makes the faulty shards again, by the teacher that made the others, and touches nothing else; returns how many.

    Raises MertError, before anything is deleted, if no shard tells how it was made or the teacher's weights changed since.
    """
    if any(shard.stale for shard in found.shards):
        raise MertError(f"{folder}: shards belong to another manifest or rate and are left alone; give the manifest they were made for, "
                        "or delete the folder and run `mert labels` again")
    sound = [shard.info for shard in found.shards if shard.fault is None] or [s.info for s in found.shards if s.info is not None]
    if not sound:
        raise MertError(f"{folder}: no shard tells what made it; delete the folder and run `mert labels` again")
    made_by: Dict[str, Any] = sound[0].made_by
    labeller = labeller_of(made_by)
    if labeller.weights_sha256 != sound[0].weights_sha256:
        raise MertError(f"{made_by.get('weights')}: its weights are not those of the other shards of {folder}; put the teacher back, "
                        "or delete the folder and run `mert labels` again")
    for number in found.broken:
        found.shards[number].path.unlink(missing_ok=True)
        found.shards[number].path.with_suffix(".json").unlink(missing_ok=True)
    return write_labels(manifest, folder, labeller, len(found.shards), found.broken, allow_bad, advance)
