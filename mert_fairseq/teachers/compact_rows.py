"""CQT rows as bytes: the scale of a shard is known only when all its rows are, so they wait on disk."""

import tempfile
from pathlib import Path
from typing import Iterable, Iterator, List

import numpy as np

from mert_fairseq.data.compact_cqt import from_bytes, to_bytes
from mert_fairseq.data.shard import ShardInfo
from mert_fairseq.errors import MertError


def compact(rows: Iterable[np.ndarray], info: ShardInfo, path: Path) -> Iterator[np.ndarray]:
    """CQT rows as uint8; fills in `info.scale` at once, which takes a spool on disk of all rows, and the measured error at the end."""
    largest, lengths = np.zeros(info.width, np.float32), []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        spool = tempfile.TemporaryFile(dir=path.parent)  # has no name: a killed dump leaves nothing
        for frames in rows:
            half = np.ascontiguousarray(frames, np.float16)
            spool.write(half.data)
            largest = np.maximum(largest, half.max(axis=0, initial=0).astype(np.float32))
            lengths.append(len(half))
        spool.seek(0)
    except OSError as fault:
        raise MertError(f"{path}: cannot be written ({fault.strerror}); make room or pick another folder and run again") from fault
    info.scale = [float(value) for value in largest]
    return _levels(spool, lengths, largest, info)


def _levels(spool, lengths: List[int], largest: np.ndarray, info: ShardInfo) -> Iterator[np.ndarray]:
    error = energy = 0.0
    with spool:
        for length in lengths:
            half = np.frombuffer(spool.read(2 * length * info.width), np.float16)
            frames = half.reshape(length, info.width).astype(np.float32)
            levels = to_bytes(frames, largest)
            error += float(np.square(from_bytes(levels, largest) - frames).sum())
            energy += float(np.square(frames).sum())
            yield levels
    info.notes["relative_error"] = round((error / energy) ** 0.5, 6) if energy else 0.0
