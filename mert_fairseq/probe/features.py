"""Features of a task's items: windows heard once per encoder, whatever task asks for them."""

import hashlib
import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mert_fairseq.data.audio import audio_info
from mert_fairseq.data.file_state import file_state
from mert_fairseq.errors import MertError
from mert_fairseq.export.audio_pieces import AudioSegment
from mert_fairseq.export.extraction import FeatureSettings, extract_all
from mert_fairseq.export.windows import MOST_SECONDS
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.items import Item
from mert_fairseq.probe.task import Hearing
from mert_fairseq.probe.window_store import WindowStore

SAVE_EVERY = 64  # windows


@dataclass(frozen=True)
class HeardItems:
    """Features of items.

    Attributes:
        rows: [n, L + 1, D] of the whole cache, on disk.
        places: [N] row of each window.
        owner: [N] index of the item that each window is of.
        audio_hash: of the windows' places, files, and their sizes and times.
    """

    rows: np.ndarray
    places: np.ndarray
    owner: np.ndarray
    audio_hash: str = ""

    def array(self) -> np.ndarray:
        """[N, L + 1, D] in memory."""
        return self.rows[self.places]


def item_segment(item: Item, shortest: int, first_s: Optional[float] = None) -> AudioSegment:
    """The stretch of its file that is heard of an item.

    Args:
        shortest: samples that give one frame.
        first_s: seconds of the item that are heard; None: all.

    Raises:
        MertError: the file cannot be read, or the item is shorter than one frame.
    """
    start, state = round(item.start_s * SAMPLE_RATE), file_state(item.path)
    length = audio_info(item.path).num_samples - start
    if item.stop_s is not None:
        length = min(length, round((item.stop_s - item.start_s) * SAMPLE_RATE))
    if first_s is not None:
        length = min(length, round(first_s * SAMPLE_RATE))
    if length < shortest:
        raise MertError(f"{item.path}: {item.name} has {max(0, length)} samples, {shortest} needed; remove it or mend the file")
    return AudioSegment(item.path, start, length, state)


def windows_of(item: Item, hearing: Hearing, shortest: int) -> List[AudioSegment]:
    """Windows without overlap; a rest that is shorter than `least_s` is left out, unless it is all there is. Raises as `item_segment`."""
    whole = item_segment(item, shortest, hearing.first_s)
    step, least = round(hearing.window_s * SAMPLE_RATE), max(shortest, round(hearing.least_s * SAMPLE_RATE))
    starts = [offset for offset in range(0, whole.num_samples, step) if whole.num_samples - offset >= least] or [0]
    return [replace(whole, start=whole.start + offset, num_samples=min(step, whole.num_samples - offset)) for offset in starts]


def hear(
    encoder: ProbedEncoder,
    items: Sequence[Item],
    hearing: Hearing,
    cache: Path,
    root: Path,
    batch: int = 1,
    progress: Optional[Callable[[int, int], None]] = None,
) -> HeardItems:
    """Features of all items, those that are not in the cache computed now; may be killed and called again.

    Args:
        cache: folder of all caches; one of it is the encoder's.
        root: the data folder; keys are paths below it, so that the data may be moved.
        progress: told how many of the missing windows are done.
    """
    segments, owner = _segments(items, hearing, encoder.shortest)
    keys = [window_key(segment, root) for segment in segments]
    store = WindowStore(cache_folder(cache, encoder), (encoder.num_layers + 1, encoder.dim))
    there = store.places()
    if any(key not in there for key in keys):
        try:
            with store.writing():
                there = store.places()
                missing = list({key: segment for key, segment in zip(keys, segments) if key not in there}.items())
                _compute(encoder, store, missing, batch, progress)
        except OSError as error:
            mend = "make room, and the same command goes on; or give another --cache"
            raise MertError(f"{store.folder}: cannot be written ({error.strerror}); {mend}") from None
    places = store.places()
    store.check(places[key] for key in keys)
    return HeardItems(store.rows(), np.array([places[key] for key in keys]), np.array(owner), keys_hash(keys))


def keys_hash(keys: Sequence[str]) -> str:
    """sha256 of windows' keys, in order."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def cache_folder(cache: Path, encoder: ProbedEncoder) -> Path:
    """The encoder's own part of the cache, named for people and by its weights."""
    name = re.sub(r"[^\w.-]+", "_", encoder.name)[:40]
    return cache / f"{name}-{encoder.weights_hash[:16]}"


def _segments(items: Sequence[Item], hearing: Hearing, shortest: int) -> Tuple[List[AudioSegment], List[int]]:
    segments: List[AudioSegment] = []
    owner: List[int] = []
    for index, item in enumerate(items):
        own = windows_of(item, hearing, shortest)
        segments += own
        owner += [index] * len(own)
    return segments, owner


def window_key(segment: AudioSegment, root: Path) -> str:
    """Of a window: its place in a file of that size and time, so that a file that was mended or is another one is heard again.

    Paths are those below `root`: the data may be moved, with its files' times.
    """
    path = Path(segment.path)
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return "\t".join(map(str, (segment.start, segment.num_samples, *segment.state, json.dumps(str(name)))))


def _compute(encoder: ProbedEncoder, store: WindowStore, missing: List[Tuple[str, AudioSegment]], batch: int, progress) -> None:
    waiting: Dict[int, np.ndarray] = {}
    shape = store.shape
    settings = FeatureSettings(window_s=MOST_SECONDS, batch=batch)  # each window is heard as a whole
    found = extract_all(encoder, (segment for _, segment in missing), settings, lambda _, wanted: np.empty(wanted, np.float32))
    for done, (index, features) in enumerate(found, 1):
        failed = isinstance(features, MertError)
        if not failed:
            waiting[index] = features.reshape(shape)
        if waiting and (failed or len(waiting) >= SAVE_EVERY or done == len(missing)):
            store.add([missing[index][0] for index in waiting], np.stack(list(waiting.values())))
            waiting.clear()
        if failed:
            raise MertError(f"{features}; mend or replace the file, what was heard is kept")
        if progress is not None:
            progress(done, len(missing))


@dataclass(frozen=True)
class Estimate:
    """Attributes: windows that are not cached yet, seconds they will take, bytes they will fill."""

    windows: int
    seconds: float
    num_bytes: int


def estimate(encoder: ProbedEncoder, items: Sequence[Item], hearing: Hearing, cache: Path, root: Path) -> Estimate:
    """What `hear` would cost."""
    segments, _ = _segments(items, hearing, encoder.shortest)
    store = WindowStore(cache_folder(cache, encoder), (encoder.num_layers + 1, encoder.dim))
    there = store.places()
    missing = [segment for segment in segments if window_key(segment, root) not in there]
    if not missing:
        return Estimate(0, 0.0, 0)
    size = 4 * (encoder.num_layers + 1) * encoder.dim
    return Estimate(len(missing), seconds_to_hear(encoder, missing), len(missing) * size)


def seconds_to_hear(encoder: ProbedEncoder, segments: Sequence[AudioSegment]) -> float:
    """Time that hearing will take, from hearing ten seconds of noise."""
    seconds_of_audio = sum(segment.num_samples for segment in segments) / SAMPLE_RATE
    tried = min(10.0, max(segment.num_samples for segment in segments) / SAMPLE_RATE)
    noise = np.random.default_rng(0).standard_normal(round(tried * SAMPLE_RATE)).astype(np.float32) * 0.1
    times = []
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        list(extract_all(encoder, [noise], FeatureSettings(window_s=MOST_SECONDS), lambda _, wanted: np.empty(wanted, np.float32)))
        times.append(time.perf_counter() - start)
    return times[-1] / tried * seconds_of_audio
