"""Audio files as the model hears them: mono float32 at 24 kHz, not normalised, any window of any file.

    info = audio_info("song.ogg")                   # info.num_samples is the length at 24 kHz
    wave = read_audio("song.ogg", 320 * 100, 120_000)  # float32 [120000], from 1.33 s on

A window is the same numbers (1e-5) as that slice of the whole file, whatever the file's rate and format.
"""

import functools
import math
import os
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
from torchaudio.functional import resample

from mert_fairseq.data.native_audio import AudioError, ForwardFile, PathLike, native_length, open_audio, read_native
from mert_fairseq.data.native_length import as_long_as
from mert_fairseq.frames import SAMPLE_RATE

__all__ = ["AUDIO_SUFFIXES", "AudioError", "AudioInfo", "audio_info", "is_audio_name", "read_audio", "resampled_length"]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")  # compared in lower case

FILTER_WIDTH = 6  # zero crossings on each side of the sinc kernel; torchaudio's default
ROLLOFF = 0.99  # cut-off as a share of the lower Nyquist frequency; torchaudio's default
CHUNK_SAMPLES = 1 << 21  # samples resampled at a time (87 s)
MAX_KERNEL = 1 << 26  # entries of the resampling kernel (256 MB), reached by odd rates that share no factor with 24,000


@dataclass(frozen=True)
class AudioInfo:
    """What a file holds."""

    num_samples: int  # at 24 kHz, after resampling
    native_rate: int  # Hz
    channels: int
    native_frames: int  # samples per channel at the native rate
    subtype: str  # libsndfile's name of the encoding: PCM_16, VORBIS, MPEG_LAYER_III ...


def is_audio_name(name: str) -> bool:
    """Whether a file's name ends like audio."""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def audio_info(path: PathLike) -> AudioInfo:
    """Length and kind of a file, from its headers (an MP3 without a length header is decoded once to count).

    Raises AudioError where the file is missing, not audio, cut short as its container shows, or of a rate that cannot
    be resampled.
    """
    with open_audio(path) as sound:
        _check_rate(sound)
        frames = native_length(sound)
        length = resampled_length(frames, sound.samplerate)
        return AudioInfo(length, sound.samplerate, sound.channels, frames, sound.subtype)


def read_audio(path: PathLike, start: int = 0, num_samples: Optional[int] = None, length: Optional[int] = None) -> np.ndarray:
    """A window of a file: float32 [S], mono, 24 kHz, as loud as the file has it (beyond 1.0 where it clips).

    `start` and `num_samples` are in samples at 24 kHz; None reads to the end. Never shorter than asked: raises AudioError,
    naming the file, for a window beyond the end, a file shorter than its header says, damage, and samples that are NaN or
    infinite; and for a file that is not of `length`, its row of the manifest, as far as that can be told without decoding it.
    """
    if start < 0 or (num_samples is not None and num_samples < 1):
        raise AudioError(f"{path}: window of {num_samples} samples from {start}; allowed are start >= 0 and at least 1 sample")
    with open_audio(path) as sound:
        _check_rate(sound)
        if length is not None:
            _check_row(sound, length)
        found = resampled_length(sound.frames if num_samples else native_length(sound), sound.samplerate)
        if start >= found:
            raise AudioError(f"{path}: window starts at sample {start}, beyond the end: the file has {found}", "truncated")
        wave = _read_resampled(sound, start, num_samples or found - start)
    if not np.isfinite(wave).all():
        first = start + int(np.flatnonzero(~np.isfinite(wave))[0])
        raise AudioError(f"{path}: sample {first} (at 24 kHz) is NaN or infinite; finite samples were expected", "non_finite")
    return wave


def resampled_length(native_frames: int, native_rate: int) -> int:
    """Samples at 24 kHz of a file: ceil(native_frames * 24000 / native_rate)."""
    return -(-native_frames * SAMPLE_RATE // native_rate)


def _check_rate(sound: ForwardFile) -> None:
    """Refuse a rate whose resampling kernel would not fit in memory (44,101 Hz, say)."""
    up, down = _ratio(sound.samplerate)
    if up * (down + 2 * _reach(up, down)) > MAX_KERNEL:
        mend = f"convert it first: `ffmpeg -i IN -ar {SAMPLE_RATE} OUT.flac`"
        text = f"{sound.name}: {sound.samplerate} Hz shares no large factor with {SAMPLE_RATE} Hz; {mend}"
        raise AudioError(text, "unsupported_rate")


def _check_row(sound: ForwardFile, length: int) -> None:
    """Refuse a file that is not as long as its row says: its targets are of another one."""
    if not as_long_as(sound, length, functools.partial(resampled_length, native_rate=sound.samplerate)):
        mend = "it changed after the manifest was written: run `mert manifest` and `mert labels` again"
        raise AudioError(f"{sound.name}: not of the {length} samples that its row says; {mend}", "truncated")


def _ratio(rate: int) -> tuple[int, int]:
    """(samples out, frames in) of the smallest block that both rates have in common: 44,100 Hz -> (80, 147)."""
    common = math.gcd(rate, SAMPLE_RATE)
    return SAMPLE_RATE // common, rate // common


def _reach(up: int, down: int) -> int:
    """Frames on each side of a sample that the resampling kernel sees."""
    return math.ceil(FILTER_WIDTH * down / (min(up, down) * ROLLOFF))


def _margin(up: int, down: int) -> int:
    """Blocks to read on each side of a window so that its edges are those of the whole file."""
    return -(-_reach(up, down) // down) + 1


def _read_resampled(sound: ForwardFile, start: int, num_samples: int) -> np.ndarray:
    """The window at 24 kHz, float32 [num_samples]; raises AudioError where the file ends before it does."""
    if sound.samplerate == SAMPLE_RATE:
        wave = read_native(sound, start, num_samples)
        _check_length(sound, len(wave), num_samples, start)
        return wave
    up, down = _ratio(sound.samplerate)
    first = max(0, start // up - _margin(up, down))  # whole blocks, as the kernel's phase repeats with every block
    last = -(-(start + num_samples) // up) + _margin(up, down)
    native = read_native(sound, first * down, (last - first) * down)
    found = resampled_length(first * down + len(native), sound.samplerate) - start
    _check_length(sound, found, num_samples, start)
    return _resample_blocks(native, sound.samplerate, start - first * up, num_samples)


def _check_length(sound: ForwardFile, found: int, expected: int, start: int) -> None:
    """Refuse a window that came back short."""
    if found < expected:
        mend = "cut short or changed after the manifest was written? run `mert manifest` again"
        text = f"{sound.name}: {expected} samples expected from sample {start} on, {max(0, found)} found; {mend}"
        raise AudioError(text, "truncated")


def _resample_blocks(native: np.ndarray, rate: int, offset: int, num_samples: int) -> np.ndarray:
    """Samples `offset` .. `offset + num_samples` of `native` [frames] resampled; beyond its end it counts as zeros.

    Goes in chunks of whole blocks: memory stays bounded, and so does torchaudio's arithmetic on lengths, which is in float32
    and a sample short for some files of six minutes.
    """
    up, down = _ratio(rate)
    margin, step = _margin(up, down), max(1, CHUNK_SAMPLES // up)
    last = -(-(offset + num_samples) // up)
    wave = np.empty(num_samples, np.float32)
    for block in range(offset // up, last, step):
        before, after = max(0, block - margin), min(block + step, last) + margin
        piece = native[before * down : after * down]
        piece = np.pad(piece, (0, (after - before) * down - len(piece)))
        out = resample(torch.from_numpy(piece), rate, SAMPLE_RATE, FILTER_WIDTH, ROLLOFF).numpy()
        begin, end = max(block * up, offset), min((block + step) * up, offset + num_samples)
        wave[begin - offset : end - offset] = out[begin - before * up : end - before * up]
    return wave
