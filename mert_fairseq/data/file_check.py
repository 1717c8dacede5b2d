"""One audio file checked for the manifest and, if asked, copied as 24 kHz mono FLAC."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, Optional

import numpy as np
import soundfile

from mert_fairseq.data.audio import AudioInfo, audio_info, read_audio
from mert_fairseq.data.native_audio import AudioError, native_blocks, open_audio
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE

SILENT_PEAK = 1e-4  # of full scale: -80 dBFS
CONVERT_SAMPLES = 1 << 21  # samples at 24 kHz resampled and written at a time (87 s)
PCM_16_SCALE = 32_768
UNSAFE_IN_NAMES = "\t\n\r"  # they separate fields and rows


@dataclass(frozen=True)
class CheckSettings:
    """What every file is held to."""

    audio_dir: Path
    min_samples: int  # at 24 kHz
    convert_dir: Optional[Path] = None  # where the copies go; None: files are used as they are
    quick: bool = False  # headers and the first block that is not silent


@dataclass(frozen=True)
class FileResult:
    """What became of a file: a row of the manifest, or a reason why it is none."""

    relative_path: str  # below the audio folder
    row_path: str = ""  # below the manifest's root
    num_samples: int = 0  # at 24 kHz
    reason: str = ""  # one word, empty for a file that is kept
    detail: str = ""
    num_clipped: int = 0  # samples beyond full scale that the copy holds at full scale


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
    if any(letter in relative_path for letter in UNSAFE_IN_NAMES):
        raise AudioError("the name holds a tab or a line break, which a manifest cannot; rename the file", "bad_name")
    root = os.path.realpath(settings.audio_dir)
    target = os.path.realpath(source)
    if os.path.commonpath([root, target]) != root:
        raise AudioError(f"a link out of the audio folder, to {target}; copy the file or scan that folder", "outside_link")
    info = audio_info(source)
    if info.num_samples < settings.min_samples:
        found, least = info.num_samples / SAMPLE_RATE, settings.min_samples / SAMPLE_RATE
        raise AudioError(f"{found:.3f} s; at least {least:g} s are wanted (--min-seconds)", "too_short")
    if settings.convert_dir is None:
        _check_sound(source, info, settings.quick)
        return FileResult(relative_path, relative_path, info.num_samples)
    # The suffix is added, not replaced: song.wav and song.mp3 become two copies whatever else is in the folder.
    row_path = relative_path + ".flac"
    num_clipped = _convert(source, settings.convert_dir / row_path, info)
    return FileResult(relative_path, row_path, info.num_samples, num_clipped=num_clipped)


def _check_sound(source: Path, info: AudioInfo, quick: bool) -> None:
    """Decode a file, or with `quick` up to its first sound; raises AudioError for damage, silence, NaN and a short file."""
    peak, frames = 0.0, 0
    with open_audio(source) as sound:
        for block in native_blocks(sound):
            frames += len(block)
            peak = max(peak, _peak(block, source))
            if quick and peak > SILENT_PEAK:
                return
    if frames < info.native_frames:
        raise AudioError(f"{source}: {info.native_frames} frames expected, {frames} found", "truncated")
    _refuse_silence(peak)


def _peak(wave: np.ndarray, source: Path) -> float:
    """The largest absolute sample of a block; raises AudioError where one is NaN or infinite."""
    peak = float(np.abs(wave).max())
    if not np.isfinite(peak):
        raise AudioError(f"{source}: a sample is NaN or infinite; finite samples were expected", "non_finite")
    return peak


def _refuse_silence(peak: float) -> None:
    if peak <= SILENT_PEAK:
        raise AudioError(f"peak {peak:.2g} of full scale; more than {SILENT_PEAK:g} (-80 dBFS) is wanted", "silent")


def _convert(source: Path, target: Path, info: AudioInfo) -> int:
    """Copy `source` to a 24 kHz mono 16-bit FLAC and return how many samples were clipped; a complete copy is left alone."""
    status = source.stat()
    origin = {"source_bytes": status.st_size, "source_mtime_ns": status.st_mtime_ns, "num_samples": info.num_samples}
    if target.exists():
        copied = _origin_of(target)
        if copied.items() >= origin.items():
            return int(copied["num_clipped"])
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        num_clipped = _write_copy(temporary, _sounding_blocks(source, info.num_samples), origin)
        os.replace(temporary, target)
    except (soundfile.SoundFileError, OSError) as error:
        raise MertError(f"{target}: the copy cannot be written ({error}); free space or choose another --convert folder") from error
    finally:
        temporary.unlink(missing_ok=True)
    return num_clipped


def _origin_of(target: Path) -> Dict[str, int]:
    """What a copy says of its source; raises AudioError for a file that is no copy of ours, which is not overwritten."""
    try:
        with open_audio(target) as sound:
            origin = dict(json.loads(sound.comment))
            return origin if sound.frames == origin["num_samples"] else {}
    except (AudioError, ValueError, TypeError, KeyError) as error:
        raise AudioError(f"{target} exists and is no copy made by `mert manifest`; move it away", "copy_name_taken") from error


def _sounding_blocks(source: Path, num_samples: int) -> Iterator[np.ndarray]:
    """The file at 24 kHz block by block; raises AudioError at the end where all was silence."""
    peak = 0.0
    for start in range(0, num_samples, CONVERT_SAMPLES):
        wave = read_audio(source, start, min(CONVERT_SAMPLES, num_samples - start))
        peak = max(peak, _peak(wave, source))
        yield wave
    _refuse_silence(peak)


def _write_copy(path: Path, blocks: Iterator[np.ndarray], origin: Dict[str, int]) -> int:
    """Write blocks of samples as FLAC with `origin` in its comment; returns the number of samples beyond full scale.
