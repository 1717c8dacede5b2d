"""Verification of a whole store: every shard's description, size, hash and range of codes."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import List

import numpy as np

from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.target_store import TargetStore, open_array, read_info, shards_of
from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE

BLOCK = 1 << 16  # frames read at a time


@dataclass
class StoreCheck:
    """What was found; no faults means the store can be trained on."""

    summary: str
    faults: List[str] = field(default_factory=list)


def check_store(folder: Path, manifest: Manifest) -> StoreCheck:
    """Reads everything; every faulty shard is named with the way to mend it."""
    faults: List[str] = []
    frames = 0
    try:
        for path in shards_of(folder):
            try:
                frames += _check_shard(path)
            except MertError as error:
                faults.append(str(error))
        if not faults:
            kind = read_info(shards_of(folder)[0]).kind
            TargetStore(folder, manifest, kind, float(FRAME_RATE))
    except MertError as error:
        faults.append(str(error))
    hours = frames / FRAME_RATE / 3600
    return StoreCheck(f"{hours:.2f} h, {'ok' if not faults else f'{len(faults)} faults'}", faults)


def _check_shard(path: Path) -> int:
    """Frames of one shard whose bytes have the recorded hash and whose codes are in range."""
    info = read_info(path)
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
    return len(array)
