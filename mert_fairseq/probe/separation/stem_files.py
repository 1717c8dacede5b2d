"""The STEMS release: .stem.mp4 files, decoded once by the `musdb` package and ffmpeg into folders as `tracks` reads them.

    DECODED/train/A Classic Education - NightOwl/mixture.flac ...     16 bit, as musdb decodes them
"""

import shutil
from pathlib import Path
from typing import Sequence

import numpy as np
import soundfile

from mert_fairseq.data.part_files import remove_abandoned, written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.probe.items import Item

SUFFIX = ".stem.mp4"
STREAMS = ("mixture", "drums", "bass", "other", "vocals")  # musdb's stem_ids 0 .. 4
GROWTH = 5  # a decoded track is about this many times its file: AAC of 256 kbit/s a stream, FLAC of 600 to 1000
INSTEAD = "or use the WAV release, MUSDB18-HQ"


def is_stem_file(item: Item) -> bool:
    """Whether a track is a file of the STEMS release."""
    return item.path.name.endswith(SUFFIX)


def decoded_folder(item: Item, folder: Path) -> Path:
    """Of a track's decoded streams."""
    return folder / item.path.parent.name / item.path.name.removesuffix(SUFFIX)


def is_decoded(item: Item, folder: Path) -> bool:
    """Whether all streams are there; one under its own name is complete."""
    return all((decoded_folder(item, folder) / f"{name}.flac").is_file() for name in STREAMS)


def check_decoding(items: Sequence[Item], folder: Path) -> None:
    """Raises MertError if tracks have to be decoded, and ffmpeg, musdb or the room for it is missing."""
    waiting = [item for item in items if not is_decoded(item, folder)]
    if not waiting:
        return
    first = waiting[0].path
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise MertError(f"{first}: {program} decodes it and is not installed; apt-get install ffmpeg, {INSTEAD}")
    try:
        import musdb  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise MertError(f"{first}: musdb reads it and cannot be imported ({error}); pip install musdb, {INSTEAD}") from None
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = GROWTH * sum(item.path.stat().st_size for item in waiting), shutil.disk_usage(folder).free
    if free < needed:
        room = f"about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB free"
        raise MertError(f"{folder}: {len(waiting)} tracks are decoded here, {room}; make room, {INSTEAD}")


def decode(item: Item, folder: Path) -> None:
    """Decodes a track's streams, those that are not there; raises MertError where ffmpeg cannot."""
    import ffmpeg
    import musdb

    own = decoded_folder(item, folder)
    own.mkdir(parents=True, exist_ok=True)
    remove_abandoned(own, ".*.part")
    try:
        for stream, name in enumerate(STREAMS):
            if (own / f"{name}.flac").is_file():
                continue
            track = musdb.MultiTrack(path=str(item.path), name=item.name, stem_id=stream)
            if track.info.nb_audio_streams != len(STREAMS):
                raise MertError(f"{item.path}: {track.info.nb_audio_streams} audio streams, {len(STREAMS)} wanted; download it again")
            shortest = min(track.info.nb_samples_streams)  # to which musdb cuts streams that differ
            _write(own / f"{name}.flac", track.audio[:shortest], int(track.rate))
    except (ffmpeg.Error, Warning, RuntimeError, KeyError, IndexError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MertError(f"{item.path}: cannot be decoded into {own} ({reason}); download it again, {INSTEAD}") from None


def _write(path: Path, wave: np.ndarray, rate: int) -> None:
    """[S, channels] of -1 .. 1, on musdb's grid of 1/32768."""
    with written_whole(path) as part:
        soundfile.write(part, np.round(wave * 32768).astype(np.int16), rate, format="FLAC", subtype="PCM_16")
