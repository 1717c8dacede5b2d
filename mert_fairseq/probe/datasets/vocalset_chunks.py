"""VocalSet's recordings, with the names that are wrong mended, cut into chunks of 3 s from where the voice begins.

    FULL/female1/arpeggios/belt/f1_arpeggios_belt_c_a.wav      singer, context, technique, file

The singer is what the file's name begins with, not the folder; 28 names without it are mended, and 5 files are left out.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from torchaudio.functional import vad

from mert_fairseq.data.native_audio import native_blocks, native_length, open_audio

SINGERS = tuple(f"f{number}" for number in range(1, 10)) + tuple(f"m{number}" for number in range(1, 12))
TECHNIQUES = ("belt", "breathy", "inhaled", "lip_trill", "spoken", "straight", "trill", "trillo", "vibrato", "vocal_fry")
OTHER_TECHNIQUES = ("fast_forte", "fast_piano", "forte", "messa", "pp", "slow_forte", "slow_piano")
CHUNK_S = 132_000 / 44_100  # MARBLE's 3 s: 44 samples to the millisecond
FILES = "*male*/*/*/*.wav"
VOWELS = "aeiou"
#: (technique, name without its singer) -> singer, and what is left out, both by MARBLE tasks/VocalSet/preprocess.py.
SINGER_OF: Dict[Tuple[str, str], str] = {
    **{("straight", f"{context}_straight_{vowel}"): "f4" for context in ("arpeggios", "scales") for vowel in VOWELS},
    **{("fast_piano", f"scales_{key}_fast_piano_{vowel}"): "m10" for key in "cf" for vowel in VOWELS},
    ("straight", "row_straight"): "m8",
    ("lip_trill", "lip_trill_arps"): "f2",
    ("lip_trill", "scales_lip_trill"): "m3",
    ("vocal_fry", "scales_vocal_fry"): "f2",
    ("fast_forte", "arps_fast_piano_c"): "f9",
    ("fast_piano", "fast_piano_arps_f"): "f2",
    ("fast_piano", "arps_c_fast_piano"): "m3",
    ("fast_piano", "scales_fast_piano_f"): "f3",
}
LEFT_OUT = ("f2_scales_vibrato_a(1)", "caro_vibrato", "dona_vibrato", "row_vibrato", "slow_vibrato_arps")  # all of vibrato


@dataclass(frozen=True)
class Chunk:
    """Attributes: name as MARBLE's files; recording: what it is cut from; group: the recording's place in its technique, for splits."""

    name: str
    recording: str
    path: Path
    technique: str
    singer: str
    group: int
    start_s: float = 0.0
    stop_s: Optional[float] = None


def chunks_of(root: Path, remainder: str, leading_silence: str) -> Tuple[List[Chunk], List[str]]:
    """Chunks of all recordings, by technique and name; what is left out.

    Args:
        root: FULL.
        remainder: "drop" what is left behind the last whole chunk, or "keep" it if it is over a third of one.
        leading_silence: "cut" it by voice activity, or "keep" it.
    """
    files, dropped = _recordings(root)
    chunks = []
    for technique in sorted(files):
        for group, (stem, path) in enumerate(sorted(files[technique].items(), key=lambda found: f"{found[0]}.wav")):
            singer = stem.split("_")[0]
            if singer not in SINGERS:
                dropped.append(f"{technique}/{path.name}: its name begins with no singer")
                continue
            cuts = _cuts(path, remainder, leading_silence)
            dropped += [] if cuts else [f"{technique}/{path.name}: no whole chunk in it, or no voice that the detector hears"]
            for number, (start, stop) in enumerate(cuts):
                name = f"{technique}/{stem}"
                chunks.append(Chunk(f"{name}_{number:02d}", name, path, technique, singer, group, start, stop))
    return chunks, dropped


def _recordings(root: Path) -> Tuple[Dict[str, Dict[str, Path]], List[str]]:
    """(technique -> name with singer, without .wav -> file; what is left out). Of two of one name the later path is taken."""
    files: Dict[str, Dict[str, Path]] = {technique: {} for technique in TECHNIQUES + OTHER_TECHNIQUES}
    dropped = []
    for path in sorted(root.glob(FILES)):
        technique, stem = path.parent.name, path.stem
        if technique not in files or path.name.startswith("."):
            dropped.append(f"{path.relative_to(root)}: none of the {len(files)} techniques")
        elif technique == "vibrato" and stem in LEFT_OUT:
            dropped.append(f"{path.relative_to(root)}: left out by MARBLE: a copy, or of no singer")
        else:
            stem = f"{SINGER_OF[technique, stem]}_{stem}" if (technique, stem) in SINGER_OF else stem
            if stem in files[technique]:
                dropped.append(f"{files[technique][stem].relative_to(root)}: {path.relative_to(root)} has the same technique and name")
            files[technique][stem] = path
    return files, dropped


def _cuts(path: Path, remainder: str, leading_silence: str) -> List[Tuple[float, Optional[float]]]:
    """(start, stop) in seconds of the chunks of a recording; the last one's stop is None where it goes to the end."""
    start, length, rate = _voice_start(path, path.stat().st_mtime_ns)
    start, length = (start / rate if leading_silence == "cut" else 0.0), length / rate
    left = length - start
    whole = max(0, int(np.ceil(left / CHUNK_S - 1e-9)) - 1)  # something has to follow each
    cuts: List[Tuple[float, Optional[float]]] = [(start + number * CHUNK_S, start + (number + 1) * CHUNK_S) for number in range(whole)]
    if remainder == "keep" and left - whole * CHUNK_S > CHUNK_S / 3:
        cuts.append((start + whole * CHUNK_S, None))
    return cuts


@functools.lru_cache(maxsize=10_000)
def _voice_start(path: Path, _mtime_ns: int) -> Tuple[int, int, int]:
    """(samples before the voice, samples in all, rate), by torchaudio's default detector, a copy of SoX's.

    Where it hears no voice, that is all samples. It hears forward, so that the beginning mostly tells.
    """
    with open_audio(path) as sound:
        length, rate = native_length(sound), sound.samplerate
        wave = np.zeros(0, np.float32)
        for block in native_blocks(sound):
            wave = np.concatenate([wave, block])
            voice = vad(torch.from_numpy(wave)[None], rate).shape[-1]
            if voice:
                return len(wave) - voice, length, rate
    return length, length, rate
