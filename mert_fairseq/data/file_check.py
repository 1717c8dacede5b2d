"""One audio file checked for the manifest and, if asked, copied as 24 kHz mono FLAC."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

import numpy as np
import soundfile

from mert_fairseq.data.audio import audio_info, read_audio
from mert_fairseq.data.file_state import FileState, file_state, refuse_changed
from mert_fairseq.data.flac_checksum import PCM_16_SCALE, flac_damage
from mert_fairseq.data.native_audio import AudioError, open_audio
from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.json_text import parse_json

SILENT_PEAK = 1e-4  # of full scale: -80 dBFS
BLOCK_SAMPLES = 1 << 19  # samples at 24 kHz read at a time (22 s)
UNSAFE_IN_NAMES = "\t\n\r"  # they separate fields and rows


@dataclass(frozen=True)
class CheckSettings:
    """What every file is held to."""

    audio_dir: Path
    min_samples: int  # at 24 kHz
    convert_dir: Optional[Path] = None  # where the copies go; None: files are used as they are
    quick: bool = False  # headers and the first block that is not silent; copies that are there are taken as whole


@dataclass(frozen=True)
class FileResult:
    """What became of a file: a row of the manifest, or a reason why it is none."""

    relative_path: str  # below the audio folder
    row_path: str = ""  # below the manifest's root
    num_samples: int = 0  # at 24 kHz
    reason: str = ""  # one word, empty for a file that is kept
    detail: str = ""
    num_clipped: int = 0  # samples beyond full scale that the copy holds at full scale
    damage: str = ""  # of the copy that was there and was made again


def check_file(relative_path: str, settings: CheckSettings) -> FileResult:
    """Check a file, and copy it where the settings say so. Never raises for a fault of the file: that is in the result.

    Raises MertError where a copy cannot be written.
    """
    try:
        return _accept(relative_path, settings)
    except AudioError as error:
        return FileResult(relative_path, reason=error.reason, detail=str(error))


def _accept(relative_path: str, settings: CheckSettings) -> FileResult:
    """The row of a file; raises AudioError with the reason where it has none."""
    source = settings.audio_dir / relative_path
    is_text = relative_path.encode("utf-8", "ignore").decode() == relative_path
    if not is_text or any(letter in relative_path for letter in UNSAFE_IN_NAMES):
        raise AudioError("the name holds a tab, a line break or bytes that are not UTF-8; rename the file", "bad_name")
    root = os.path.realpath(settings.audio_dir)
    target = os.path.realpath(source)
    if os.path.commonpath([root, target]) != root:
        raise AudioError(f"a link out of the audio folder, to {target}; copy the file or scan that folder", "outside_link")
    before = file_state(source)
    info = audio_info(source)
    if info.num_samples < settings.min_samples:
        found, least = info.num_samples / SAMPLE_RATE, settings.min_samples / SAMPLE_RATE
        raise AudioError(f"{found:.3f} s; at least {least:g} s are wanted (--min-seconds)", "too_short")
    if settings.convert_dir is None:
        _check_sound(source, info.num_samples, settings.quick)
        refuse_changed(source, before)
        return FileResult(relative_path, relative_path, info.num_samples)
    # The suffix is added, not replaced: song.wav and song.mp3 become two copies whatever else is in the folder.
    row_path = relative_path + ".flac"
    target = settings.convert_dir / row_path
    kept, damage = _kept_copy(target, _origin(source, before, info.num_samples), settings.quick)
    num_clipped = _convert(source, target, before, info.num_samples) if kept is None else kept
    return FileResult(relative_path, row_path, info.num_samples, num_clipped=num_clipped, damage=damage)


def _check_sound(source: Path, num_samples: int, quick: bool) -> None:
    """Decode a file, or with `quick` up to its first sound; raises AudioError for damage, silence, NaN and a short file."""
    peak = 0.0
    for _, wave in _blocks(source, num_samples):
        peak = max(peak, float(np.abs(wave).max()))
        if quick and peak > SILENT_PEAK:
            break
    _refuse_silence(peak)


def _blocks(source: Path, num_samples: int) -> Iterator[Tuple[int, np.ndarray]]:
    """(place, wave [up to BLOCK_SAMPLES]) of the file at 24 kHz: what training hears, so noise above 12 kHz is silence."""
    for start in range(0, num_samples, BLOCK_SAMPLES):
        yield start, read_audio(source, start, min(BLOCK_SAMPLES, num_samples - start))


def _refuse_silence(peak: float) -> None:
    if peak <= SILENT_PEAK:
        raise AudioError(f"peak {peak:.2g} of full scale; more than {SILENT_PEAK:g} (-80 dBFS) is wanted", "silent")


def _origin(source: Path, before: FileState, num_samples: int) -> Dict[str, int]:
    """What a copy says of its source."""
    refuse_changed(source, before)  # its length was read since
    return {"source_bytes": before[0], "source_mtime_ns": before[1], "num_samples": num_samples}


def _kept_copy(target: Path, origin: Dict[str, int], quick: bool) -> Tuple[Optional[int], str]:
    """(samples clipped in the copy that is there, None where one must be made; what is wrong with a damaged one)."""
    if not target.exists():
        return None, ""
    copied = _origin_of(target)
    if not copied.items() >= origin.items():
        return None, ""  # of an earlier state of its source
    damage = "" if quick else flac_damage(target, origin["num_samples"])
    return None if damage else copied["num_clipped"], damage


def _convert(source: Path, target: Path, before: FileState, num_samples: int) -> int:
    """Copy `source` to a 24 kHz mono 16-bit FLAC and return how many samples were clipped."""
    wave, num_clipped = _as_pcm_16(source, num_samples)
    _write_copy(target, wave, json.dumps({**_origin(source, before, num_samples), "num_clipped": num_clipped}))
    return num_clipped


def _origin_of(target: Path) -> Dict[str, int]:
    """What a copy says of its source; raises AudioError for a file that is no copy of ours, which is not overwritten."""
    try:
        with open_audio(target) as sound:
            origin = dict(parse_json(sound.comment))
            origin["num_clipped"] = int(origin["num_clipped"])
            return origin if sound.frames == origin["num_samples"] else {}
    except (AudioError, ValueError, TypeError, KeyError) as error:
        raise AudioError(f"{target} exists and is no copy made by `mert manifest`; move it away", "copy_name_taken") from error


def _as_pcm_16(source: Path, num_samples: int) -> Tuple[np.ndarray, int]:
    """(the file at 24 kHz as int16 [num_samples], number of samples beyond full scale); raises AudioError for silence.

    int16 n stands for n / 32768, as libsndfile reads it: a 24 kHz mono 16-bit file is copied bit for bit.
    """
    copy = np.empty(num_samples, np.int16)
    peak, num_clipped = 0.0, 0
    for start, wave in _blocks(source, num_samples):
        peak = max(peak, float(np.abs(wave).max()))
        num_clipped += int(np.count_nonzero(np.abs(wave) > 1))
        scaled = np.rint(wave * PCM_16_SCALE)
        copy[start : start + len(wave)] = np.clip(scaled, -PCM_16_SCALE, PCM_16_SCALE - 1)
    _refuse_silence(peak)
    return copy, num_clipped


def _write_copy(target: Path, wave: np.ndarray, comment: str) -> None:
    """Write int16 [S] as FLAC under a temporary name and rename it; raises MertError where that fails."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(target) as part, soundfile.SoundFile(part, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as sound:
            sound.comment = comment  # before the samples: it is part of the header
            sound.write(wave)
    except (soundfile.SoundFileError, OSError) as error:
        raise MertError(f"{target}: the copy cannot be written ({error}); free space or change --convert") from error
