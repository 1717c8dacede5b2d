"""MUSDB18's tracks on disk, read in windows.

    train/A Classic Education - NightOwl/{mixture,vocals,drums,bass,other}.wav     the WAV release, MUSDB18-HQ
    train/A Classic Education - NightOwl.stem.mp4                                  the STEMS release, needs ffmpeg

All 44.1 kHz; stereo as published, mono is taken as well. The `musdb` package reads both releases by ffmpeg, which for a window decodes
a file from its beginning, so WAV files are read directly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.functional import resample

from mert_fairseq.data.audio import resampled_length
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.probe.items import Item
from mert_fairseq.probe.separation.settings import STEMS

NATIVE_RATE = 44_100  # Hz
SIGNALS = ("mixture", *STEMS)
SUFFIXES = (".wav", ".flac")
AGAIN = "unpack the release again"


@dataclass(frozen=True)
class Track:
    """One song.

    Attributes:
        files: of the mixture and each stem.
        num_samples: per channel, at 44.1 kHz.
        channels: 1 or 2.
    """

    name: str
    files: Dict[str, Path]
    num_samples: int
    channels: int

    def read(self, signals: Sequence[str], start: int, num_samples: int) -> np.ndarray:
        """A window of some signals: float32 [N, channels, S] at 44.1 kHz; raises MertError where a file is damaged."""
        return np.stack([self._window(self.files[signal], start, num_samples) for signal in signals])

    def _window(self, path: Path, start: int, num_samples: int) -> np.ndarray:
        try:
            with soundfile.SoundFile(path) as sound:
                sound.seek(start)
                wave = sound.read(num_samples, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise MertError(f"{path}: cannot be read from sample {start} on ({error}); {AGAIN}") from None
        if len(wave) < num_samples or not np.isfinite(wave).all():
            raise MertError(f"{path}: {num_samples} finite samples expected from {start} on, {len(wave)} found; {AGAIN}")
        return wave.T


def open_track(item: Item) -> Track:
    """Looks at the files of a track's folder.

    Raises:
        MertError: a stem is missing or cannot be read, lengths or channels differ, or the rate is not 44.1 kHz.
    """
    files = {signal: _find(item.path, signal) for signal in SIGNALS}
    infos = {signal: _info(path) for signal, path in files.items()}
    mixture = infos["mixture"]
    for signal, info in infos.items():
        if info.samplerate != NATIVE_RATE:
            raise MertError(f"{files[signal]}: {info.samplerate} Hz; MUSDB18 has {NATIVE_RATE} Hz, {AGAIN}")
        if (info.frames, info.channels) != (mixture.frames, mixture.channels):
            found = f"{info.frames} samples of {info.channels} channels, its mixture {mixture.frames} of {mixture.channels}"
            raise MertError(f"{files[signal]}: {found}; they must be alike, {AGAIN}")
    if mixture.channels > 2:
        raise MertError(f"{files['mixture']}: {mixture.channels} channels; 1 or 2 wanted, {AGAIN}")
    return Track(item.name, files, mixture.frames, mixture.channels)


def _find(folder: Path, signal: str) -> Path:
    if not folder.is_dir():
        raise MertError(f"{folder}: no such folder of a track; {AGAIN}")
    for suffix in SUFFIXES:
        if (folder / f"{signal}{suffix}").is_file():
            return folder / f"{signal}{suffix}"
    raise MertError(f"{folder}: {signal}.wav is missing; a track has {', '.join(f'{name}.wav' for name in SIGNALS)}; {AGAIN}")


def _info(path: Path):
    try:
        return soundfile.info(path)
    except (OSError, RuntimeError) as error:
        raise MertError(f"{path}: cannot be read ({error}); {AGAIN}") from None


def check_lengths(tracks: Sequence[Track], least: int) -> None:
    """Raises MertError for a track of fewer than `least` samples at 44.1 kHz."""
    for track in tracks:
        if track.num_samples < least:
            length = f"{track.num_samples / NATIVE_RATE:.2f} s long, {least / NATIVE_RATE:.2f} s needed"
            raise MertError(f"{track.files['mixture']}: {length} for a training mix; {AGAIN}, or take a shorter chunk_s")


def to_24k(wave: np.ndarray) -> Tensor:
    """[..., S] at 44.1 kHz -> [..., ceil(S * 80 / 147)] at 24 kHz."""
    out = resample(torch.from_numpy(np.ascontiguousarray(wave)), NATIVE_RATE, SAMPLE_RATE)
    missing = resampled_length(wave.shape[-1], NATIVE_RATE) - out.size(-1)  # torchaudio counts in float32, one off for long songs
    return pad(out, (0, missing))


def read_song(track: Track, signals: Sequence[str]) -> List[Tensor]:
    """Whole signals at 24 kHz, each [channels, S]."""
    return [to_24k(track.read([signal], 0, track.num_samples)[0]) for signal in signals]


def samples_at_24k(track: Track) -> int:
    """Length of a track once resampled."""
    return resampled_length(track.num_samples, NATIVE_RATE)
