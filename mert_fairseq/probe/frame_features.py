"""Frames of whole recordings, for what happens in time: one file per recording and encoder, made once.

    CACHE/{encoder}/frames/{key}.npy     float16 [L + 1, T, D]; complete under its own name
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np

from mert_fairseq.data.audio import audio_info
from mert_fairseq.data.part_files import part_path, remove_abandoned
from mert_fairseq.errors import MertError
from mert_fairseq.export.audio_pieces import AudioSegment
from mert_fairseq.export.extraction import FeatureSettings, extract_all
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.features import cache_folder, keys_hash, window_key
from mert_fairseq.probe.items import Item

WINDOW_S = 30.0  # heard at a time


def frames_folder(cache: Path, encoder: ProbedEncoder) -> Path:
    """Of one encoder."""
    return cache_folder(cache, encoder) / "frames"


def hear_frames(
    encoder: ProbedEncoder,
    items: Sequence[Item],
    cache: Path,
    root: Path,
    batch: int = 1,
    progress: Optional[Callable[[int, int], None]] = None,
) -> List[np.ndarray]:
    """One [T, L + 1, D] per item, on disk; those that are not in the cache are computed now. May be killed and called again.

    Raises:
        MertError: a file cannot be read, or the disk has no room for what is missing.
    """
    folder = frames_folder(cache, encoder)
    segments = [_segment(item) for item in items]
    paths = [folder / f"{hashlib.sha256(window_key(segment, root).encode()).hexdigest()[:32]}.npy" for segment in segments]
    missing = [(path, segment) for path, segment in dict(zip(paths, segments)).items() if not path.exists()]
    if missing:
        _hear(encoder, missing, folder, batch, progress)
    return [np.load(path, mmap_mode="r").transpose(1, 0, 2) for path in paths]


def _hear(encoder: ProbedEncoder, missing: List[Tuple[Path, AudioSegment]], folder: Path, batch: int, progress) -> None:
    """Raises MertError where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder, ".*.part")
        check_room(encoder, [segment for _, segment in missing], folder)
        _compute(encoder, missing, batch, progress)
    except OSError as error:
        mend = "make room, and the same command goes on; or give another --cache"
        raise MertError(f"{folder}: cannot be written ({error.strerror}); {mend}") from None


def frames_hash(items: Sequence[Item], root: Path) -> str:
    """Of the recordings' files, their sizes and times."""
    return keys_hash([window_key(_segment(item), root) for item in items])


def missing_bytes(encoder: ProbedEncoder, items: Sequence[Item]) -> int:
    """What the frames of all items take on disk."""
    return frames_bytes(encoder, [_segment(item) for item in items])


def frames_bytes(encoder: ProbedEncoder, segments: Sequence[AudioSegment]) -> int:
    """Bytes of the frames of all layers."""
    frames = sum(segment.num_samples for segment in segments) / SAMPLE_RATE * encoder.frame_rate
    return int(2 * frames * (encoder.num_layers + 1) * encoder.dim)


def check_room(encoder: ProbedEncoder, segments: Sequence[AudioSegment], folder: Path) -> None:
    """Refuses what the disk has no room for, before hours are spent."""
    wanted, free = frames_bytes(encoder, segments), shutil.disk_usage(folder).free
    if wanted > free:
        raise MertError(f"{folder}: frames of all layers take {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; give --cache elsewhere")


def _segment(item: Item) -> AudioSegment:
    start = round(item.start_s * SAMPLE_RATE)
    length = audio_info(item.path).num_samples - start
    if item.stop_s is not None:
        length = min(length, round((item.stop_s - item.start_s) * SAMPLE_RATE))
    return AudioSegment(item.path, start, length)


def _compute(encoder: ProbedEncoder, missing: List[Tuple[Path, AudioSegment]], batch: int, progress) -> None:
    def allocate(index: int, shape: Tuple[int, ...]) -> np.ndarray:
        """On disk, its space taken at once: one that others fill would end the process with a bus error."""
        part = part_path(missing[index][0])
        array = np.lib.format.open_memmap(part, "w+", np.float16, shape)
        try:
            with open(part, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return array

    settings = FeatureSettings(pool="frames", window_s=WINDOW_S, batch=batch)
    found = extract_all(encoder, (segment for _, segment in missing), settings, allocate)
    for done, (index, features) in enumerate(found, 1):
        if isinstance(features, MertError):
            raise features
        features.flush()
        part_path(missing[index][0]).replace(missing[index][0])
        if progress is not None:
            progress(done, len(missing))
