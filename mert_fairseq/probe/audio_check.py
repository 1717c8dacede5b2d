"""Whether the audio of items can be read, and how long it is."""

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional, Tuple

from mert_fairseq.data.audio import AudioError, audio_info
from mert_fairseq.data.native_audio import check_contents, open_audio
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.probe.items import Item, StemFiles

STEMS_SUFFIX = ".mp4"  # read by ffmpeg, not by libsndfile
ROUNDING_S = 0.1  # between a list's seconds and a file's
FLOATS = ("FLOAT", "DOUBLE")  # alone can hold NaN, and cost no decoding
Progress = Callable[[int, int], None]


def lengths_of(
    items: Iterable[Item], threads: int, progress: Optional[Progress] = None, decode: bool = True
) -> Tuple[Dict[Path, Optional[float]], List[str], List[Path]]:
    """(file -> seconds, None for STEMS; what is wrong with those that cannot be read; those known to be silent), each file once.

    Args:
        decode: every file to its end; else headers and float samples are read, and other damage behind headers is not seen.
        progress: told how many files are done, of how many.
    """
    paths = list(dict.fromkeys(path for item in items for path in files_of(item)))
    seconds, faults, silent = {}, [], []
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for done, (path, (length, fault, loud)) in enumerate(zip(paths, pool.map(functools.partial(_length, decode=decode), paths)), 1):
            if fault:
                faults.append(fault)
            else:
                seconds[path] = length
                silent += [] if loud else [path]
            if progress is not None:
                progress(done, len(paths))
    return seconds, faults, silent


def files_of(item: Item) -> Tuple[Path, ...]:
    """The audio files of an item, each once."""
    if isinstance(item.label, StemFiles):
        stems = item.label
        return tuple(dict.fromkeys((stems.mixture, stems.vocals, stems.drums, stems.bass, stems.other)))
    return (item.path,)


def span_fault(item: Item, length: Optional[float]) -> str:
    """What is wrong with the part of a file that an item is; "" if nothing is, or the length is not known.

    Args:
        length: of the file, seconds.
    """
    if length is None or (item.start_s < length and (item.stop_s is None or item.stop_s < length + ROUNDING_S)):
        return ""
    stop = "its end" if item.stop_s is None else f"{item.stop_s:.1f} s"
    return f"{item.path}: {length:.1f} s long, but {item.name} is {item.start_s:.1f} s to {stop}"


def short_fault(item: Item, length: Optional[float], shortest: int) -> str:
    """That an item is too short to be heard, and `span_fault` does not say so already; "" if it is long enough or not known.

    Args:
        length: of the file, seconds.
        shortest: samples at 24 kHz that give one frame.
    """
    if length is None or span_fault(item, length):
        return ""
    stop = length if item.stop_s is None else min(length, item.stop_s)
    samples = math.ceil(round((stop - item.start_s) * SAMPLE_RATE, 3))
    return f"{item.path}: {item.name} has {samples} samples at {SAMPLE_RATE} Hz, {shortest} needed" if samples < shortest else ""


def _length(path: Path, decode: bool) -> Tuple[Optional[float], str, bool]:
    """(seconds, "", whether anything may be heard), or (None, what is wrong, ...)."""
    loud = True
    try:
        if path.suffix == STEMS_SUFFIX:
            return None, _stems_fault(path), loud
        if path.suffix == ".mp3" and not decode:  # its header's length, or an estimate
            with open_audio(path) as sound:
                length = sound.frames / sound.samplerate
        else:
            info = audio_info(path)
            length = info.native_frames / info.native_rate
        if decode or path.suffix.lower() == ".wav":  # the only ones of floats
            with open_audio(path) as sound:
                loud = check_contents(sound) if decode or sound.subtype in FLOATS else loud
    except AudioError as error:
        return None, str(error).split("; ")[0], loud
    return (length, "", loud) if length > 0 else (None, f"{path}: no audio in it", loud)


def _stems_fault(path: Path) -> str:
    """Whether it is MP4 at all: its first box is `ftyp`."""
    try:
        with open(path, "rb") as handle:
            return "" if handle.read(8)[4:] == b"ftyp" else f"{path}: not MP4"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
