"""What a recording is known by: a hash of its decoded audio, and its spectral peaks, which outlast re-encoding, gain and cutting.

    digest   sha256 of the samples as heard (24 kHz, mono, 16 bits): the same in WAV and FLAC, whatever the tags
    peaks    [n, 2] frame and frequency bin of local maxima of the spectrogram (Wang 2003, An industrial-strength audio search
             algorithm), from which pairs of neighbours make `landmarks`
"""

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import List, Tuple

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.signal import ShortTimeFFT

from mert_fairseq.data.audio import audio_info, read_audio
from mert_fairseq.data.file_state import FileState, file_state, refuse_changed
from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE

VERSION = 1  # of peaks and digest; part of a cached file's name
WINDOW, STEP = 2048, 768  # samples: 85 ms, 32 ms
LOW_BIN, HIGH_BIN = 9, 427  # 105 to 5,000 Hz: what low bit rates leave
NEAR_FRAMES, NEAR_BINS = 10, 15  # a peak is the greatest within these on each side
FLOOR = 1e-4  # magnitude, of a full-scale sine's 1: quieter is taken for silence
FAN = 5  # following peaks that each peak is paired with
MOST_FRAMES = 63  # between the two: 2 s
BLOCK_STEPS = 8192  # frames computed at a time, so that memory does not grow with the file
_TRANSFORM = ShortTimeFFT.from_window("hann", SAMPLE_RATE, WINDOW, WINDOW - STEP, scale_to="magnitude")


@dataclass(frozen=True)
class Fingerprint:
    """Attributes: digest, hexadecimal; peaks, uint32 [n, 2], by frame."""

    digest: str
    peaks: np.ndarray


def fingerprint(path: Path) -> Fingerprint:
    """Of a file, read to its end; raises AudioError where it cannot be."""
    digest, peaks = hashlib.sha256(), []
    total = audio_info(path).num_samples
    around = (NEAR_FRAMES + 2) * STEP  # heard on each side of a block, so that its edges are no peaks
    for start in range(0, total, BLOCK_STEPS * STEP):
        first, stop = max(0, start - around), min(total, start + BLOCK_STEPS * STEP)
        wave = read_audio(path, first, min(total, stop + around) - first)
        own = wave[start - first : stop - first]
        digest.update(np.clip(np.rint(own * 32768), -32768, 32767).astype("<i2").tobytes())
        found = spectral_peaks(wave) + (first // STEP, 0)
        peaks.append(found[(found[:, 0] >= start // STEP) & (found[:, 0] < -(-stop // STEP))])
    return Fingerprint(digest.hexdigest(), np.concatenate(peaks).astype(np.uint32) if peaks else np.zeros((0, 2), np.uint32))


def spectral_peaks(wave: np.ndarray) -> np.ndarray:
    """[S] -> int64 [n, 2] of frame and bin, by frame: greater than all around, and not silent."""
    if len(wave) < WINDOW:
        return np.zeros((0, 2), np.int64)
    magnitude = np.abs(_TRANSFORM.stft(wave, p0=0, p1=len(wave) // STEP + 1))[LOW_BIN:HIGH_BIN]
    greatest = maximum_filter(magnitude, (2 * NEAR_BINS + 1, 2 * NEAR_FRAMES + 1), mode="constant")
    bins, frames = np.nonzero((magnitude == greatest) & (magnitude > FLOOR))
    order = np.lexsort((bins, frames))
    return np.stack([frames[order], bins[order]], axis=1)


def landmarks(peaks: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """[n, 2] peaks -> (uint32 [m] pairs: both bins and the frames between; int64 [m] frame of the first)."""
    frames, bins = peaks[:, 0].astype(np.int64), peaks[:, 1].astype(np.int64)
    pairs: List[np.ndarray] = []
    starts: List[np.ndarray] = []
    for step in range(1, FAN + 1):
        between = frames[step:] - frames[:-step]
        near = (between > 0) & (between <= MOST_FRAMES)
        pairs.append(((bins[:-step] << 15) | (bins[step:] << 6) | between)[near])
        starts.append(frames[:-step][near])
    return np.concatenate(pairs).astype(np.uint32), np.concatenate(starts)


class FingerprintCache:
    """Fingerprints on disk, one small file each, made again for a file that has changed.

    Args:
        folder: made if missing; may be shared.

    Raises:
        MertError: it cannot be written to.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def get(self, path: Path) -> Fingerprint:
        """The fingerprint of a file, computed if need be; raises AudioError where it cannot be read."""
        if not path.is_file():
            audio_info(path)  # says what is wrong
        state = file_state(path)
        place = self._place(path, state)
        try:
            with np.load(place) as stored:
                return Fingerprint(stored["digest"].tobytes().hex(), stored["peaks"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # none yet, or cut off
            found = fingerprint(path)
            refuse_changed(path, state)  # else it would be kept as that of another file
        self._write(place, found)
        return found

    def _place(self, path: Path, state: FileState) -> Path:
        key = "\t".join(map(str, (VERSION, os.path.realpath(path), *state)))
        name = hashlib.sha1(key.encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.npz"

    @staticmethod
    def _write(place: Path, found: Fingerprint) -> None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(place) as part, open(part, "wb") as handle:
                np.savez(handle, digest=np.frombuffer(bytes.fromhex(found.digest), np.uint8), peaks=found.peaks)
        except OSError as error:
            raise MertError(f"{place}: cannot be written ({error.strerror}); free space or give another cache folder") from None
