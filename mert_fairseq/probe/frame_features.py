"""Frames of whole recordings, for what happens in time: heard once per encoder, those hidden states kept that are asked for.

    CACHE/{encoder}/frames/{recording}/{layer}.array     see `stored_frames`; counts once it is there, which it is as a whole, and is
                                                         refused where it is not as it was written
"""

import hashlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np

from mert_fairseq.data.checked_arrays import SUFFIX
from mert_fairseq.data.part_files import remove_abandoned
from mert_fairseq.errors import MertError
from mert_fairseq.export.audio_pieces import AudioSegment
from mert_fairseq.export.extraction import FeatureSettings, extract_all
from mert_fairseq.export.windows import MOST_SECONDS
from mert_fairseq.frames import FRAME_RATE, SAMPLE_RATE
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.features import cache_folder, item_segment, keys_hash, window_key
from mert_fairseq.probe.items import Item
from mert_fairseq.probe.stored_frames import StoredFrames, num_rows, older_files, store_frames
from mert_fairseq.probe.task import Hearing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """What is heard of one item, and where its frames are kept.

    Attributes:
        key: of the audio.
        files: by hidden state that is asked for.
    """

    segment: AudioSegment
    key: str
    files: Dict[int, Path]

    @property
    def missing(self) -> List[int]:
        """Hidden states that are not kept yet."""
        return [layer for layer, path in self.files.items() if not path.exists()]


def recordings_of(
    encoder: ProbedEncoder, items: Sequence[Item], hearing: Hearing, layers: Sequence[int], cache: Path, root: Path
) -> List[Recording]:
    """One per item; raises MertError for a file that cannot be read or is too short.

    Args:
        hearing: how much of an item is heard, and how much of it at a time.
        layers: hidden states that are asked for.
        root: the data folder; keys are paths below it, so that the data may be moved.
    """
    folder, found = cache_folder(cache, encoder) / "frames", []
    for item in items:
        segment = item_segment(item, encoder.shortest, hearing.first_s)
        key = f"{window_key(segment, root)}\t{hearing.window_s:g}"
        own = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        found.append(Recording(segment, key, {layer: own / f"{layer}{SUFFIX}" for layer in layers}))
    return found


def frames_hash(recordings: Sequence[Recording]) -> str:
    """Of the recordings' files, their sizes and times."""
    return keys_hash([recording.key for recording in recordings])


def missing_bytes(encoder: ProbedEncoder, recordings: Sequence[Recording]) -> int:
    """What the frames will take on disk that are not kept yet."""
    rows = 0
    for recording in recordings:
        num_frames = round(recording.segment.num_samples / SAMPLE_RATE * encoder.frame_rate)
        rows += len(recording.missing) * num_rows(num_frames)
    return rows * encoder.dim


def hear_frames(
    encoder: ProbedEncoder,
    recordings: Sequence[Recording],
    hearing: Hearing,
    cache: Path,
    batch: int = 1,
    progress: Optional[Callable[[int, int], None]] = None,
) -> List[StoredFrames]:
    """Frames of each recording, on disk; those that are not in the cache are computed now. May be killed and called again.

    Raises:
        MertError: a file cannot be read, or the disk has no room for what is missing.
    """
    missing = list({recording.key: recording for recording in recordings if recording.missing}.values())
    window_s = hearing.window_s if encoder.frame_rate == FRAME_RATE else MOST_SECONDS  # windows are laid together at our rate alone
    folder = cache_folder(cache, encoder) / "frames"
    if missing:
        _tell_of_older(folder, missing)
        _make_room(folder, missing_bytes(encoder, recordings))
        _compute(encoder, missing, FeatureSettings(_only_layer(missing), "frames", window_s, batch), progress)
    return [StoredFrames(encoder.num_layers, recording.files) for recording in recordings]


def _tell_of_older(folder: Path, missing: Sequence[Recording]) -> None:
    older = sum(bool(older_files(recording.files[layer])) for recording in missing for layer in recording.missing)
    if older:
        logger.warning(f"{folder}: {older} hidden states are kept without a checksum, as earlier versions wrote them; they are heard again")


def _make_room(folder: Path, wanted: int) -> None:
    """The folder, without what killed processes left there; raises MertError where it cannot be written or `wanted` bytes do not fit."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder, "*/.*.part")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        mend = "make room, and the same command goes on; or give another --cache"
        raise MertError(f"{folder}: cannot be written ({error.strerror}); {mend}") from None
    if wanted > free:
        mend = "give --cache elsewhere, or fewer --layers"
        raise MertError(f"{folder}: frames take {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; {mend}")


def _only_layer(missing: Sequence[Recording]) -> Optional[int]:
    """The hidden state, where all lack one and the same: the encoder stops there."""
    lacking = {layer for recording in missing for layer in recording.missing}
    return lacking.pop() if len(lacking) == 1 else None


def _compute(encoder: ProbedEncoder, missing: Sequence[Recording], settings: FeatureSettings, progress) -> None:
    """A recording's frames are in memory as float32 while it is heard: 3 MB per second of 13 layers of 768."""
    found = extract_all(encoder, (recording.segment for recording in missing), settings, lambda _, shape: np.empty(shape, np.float32))
    for done, (index, features) in enumerate(found, 1):
        if isinstance(features, MertError):
            raise features
        _keep(missing[index], features, settings.layer)
        if progress is not None:
            progress(done, len(missing))


def _keep(recording: Recording, features: np.ndarray, only: Optional[int]) -> None:
    for layer in recording.missing:
        path = recording.files[layer]
        try:
            store_frames(path, features if only is not None else features[layer])
        except OSError as error:
            raise MertError(f"{path}: cannot be written ({error.strerror}); make room, what was heard is kept") from None
        except MertError as error:
            raise MertError(f"{recording.segment.path}: hidden state {layer}: {error}") from None
