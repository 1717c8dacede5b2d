"""A recording in four formats, ways to damage it, and what may become of windows that are read from what is left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import soundfile

from mert_fairseq.data.audio import AudioError, read_audio
from mert_fairseq.frames import HOP, SAMPLE_RATE

FORMATS = ("wav", "flac", "ogg", "mp3")
SECONDS, WINDOW = 6, 36_000
HEADER_BYTES = 128  # a quarter of all damage is here, or it would hardly ever be met
#: Samples of a window that one damaged place may change and still be what the format promises. A WAV has no checksum: each byte is a
#: sample's. An MP3 frame has none either; its neighbours use its bits. FLAC and Ogg have checksums.
MOST_CHANGED = {"wav": 64, "flac": 0, "ogg": 0, "mp3": 8 * 1152}
MOST_PLACES = 4


@dataclass
class Recording:
    """The bytes of a whole file and what they decode to."""

    suffix: str
    text: bytes
    wave: np.ndarray


def make_wave(seed: int = 0) -> np.ndarray:
    """Chirps and noise: no stretch of it is like another, so that a shift is seen."""
    rng, time_s = np.random.default_rng(seed), np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    sweep = 0.3 * np.sin(2 * np.pi * (200 + 150 * time_s) * time_s)
    return (sweep + 0.1 * rng.standard_normal(len(time_s))).astype(np.float32)


def make_recordings(folder: Path) -> Dict[str, Recording]:
    """The same recording in every format."""
    found = {}
    for suffix in FORMATS:
        path = folder / f"whole.{suffix}"
        soundfile.write(path, make_wave(), SAMPLE_RATE)
        found[suffix] = Recording(suffix, path.read_bytes(), read_audio(path))
    return found


def corrupt(text: bytes, rng: np.random.Generator) -> bytes:
    """One to four single bytes changed, or one run of up to 64."""
    changed, end = bytearray(text), HEADER_BYTES if rng.random() < 0.25 else len(text)
    if rng.random() < 0.7:
        for place in rng.integers(0, end, rng.integers(1, MOST_PLACES + 1)):
            changed[place] ^= int(rng.integers(1, 256))
    else:
        place, length = int(rng.integers(0, end)), int(rng.integers(2, 65))
        changed[place : place + length] = rng.bytes(min(length, len(text) - place))
    return bytes(changed)


def windows(num_samples: int, rng: np.random.Generator) -> List[Tuple[int, int]]:
    """Of the beginning, the end and somewhere between, (start, length), on the grid of frames."""
    last = (num_samples - WINDOW) // HOP
    return [(start * HOP, WINDOW) for start in (0, last, *rng.integers(0, last, 3))]


def judge(path: Path, whole: Recording, rng: np.random.Generator) -> Tuple[str, str]:
    """(refused, survived or silent; what is wrong) of a damaged file that training reads by windows, its row being the whole one's."""
    refused = ""
    for start, length in windows(len(whole.wave), rng):
        try:
            wave = read_audio(path, start, length, len(whole.wave))
        except AudioError as error:
            refused = str(error)
            continue
        fault = window_fault(wave, whole, start, length)
        if fault:
            return "silent", f"window from {start}: {fault}"
    return ("refused" if one_line(refused, path) else "silent", refused) if refused else ("survived", "")


def window_fault(wave: np.ndarray, whole: Recording, start: int, length: int) -> str:
    """What is wrong with a window that was given out; "" if it is what the format promises."""
    if wave.shape != (length,) or wave.dtype != np.float32 or not np.isfinite(wave).all():
        return f"{wave.shape} {wave.dtype}, finite {np.isfinite(wave).all()}"
    changed = int((np.abs(wave - whole.wave[start : start + length]) > 1e-4).sum())
    return f"{changed} samples are others" if changed > MOST_CHANGED[whole.suffix] * MOST_PLACES else ""


def one_line(message: str, path: Path) -> bool:
    """Whether a refusal is one line that names the file."""
    return str(path) in message and "\n" not in message


def write(path, text):
    path.write_bytes(text)
    return path
