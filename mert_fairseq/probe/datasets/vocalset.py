"""VocalSet: 20 singers, 17 techniques, 10 hours; the singer or the technique of each 3 s.

    FULL/female1/arpeggios/belt/f1_arpeggios_belt_c_a.wav      singer, context, technique, file
    data_by_singer/female1/...                                 the same in version 1.2

The singer is what the file's name begins with, not the folder; 28 names without it are mended, and 5 files are left out.
MARBLE cuts the recordings to files; where its lists and files are there, they are used as they are:

    train_s.txt valid_s.txt test_s.txt train_t.txt valid_t.txt test_t.txt      belt/f1_arpeggios_belt_c_a_00.wav
    audio/belt/f1_arpeggios_belt_c_a_00.wav
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from torchaudio.functional import vad

from mert_fairseq.data.native_audio import native_blocks, native_length, open_audio
from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import class_of, folder_of, lines_of
from mert_fairseq.probe.items import SPLITS, Item, TaskData
from mert_fairseq.probe.task import Dataset

DATASET = Dataset(
    name="VocalSet",
    licence="CC BY 4.0",
    size="3 GB unpacked, 3,560 WAV, 10.1 h (44.1 kHz, mono)",
    where="zenodo.org/records/1203819: VocalSet11.zip",
    layout=(
        "FULL/<female1 ... male11>/<context>/<technique>/<singer>_<...>.wav    (or data_by_singer/, of version 1.2)\n"
        "or, as MARBLE has it: audio/<technique>/<...>_<2 digits>.wav and {train,valid,test}_{s,t}.txt"
    ),
)
MEND = f"get it from {DATASET.where}"
ROOTS = ["FULL", "*/FULL", "data_by_singer", "*/data_by_singer", "."]
SINGERS = tuple(f"f{number}" for number in range(1, 10)) + tuple(f"m{number}" for number in range(1, 12))
TECHNIQUES = ("belt", "breathy", "inhaled", "lip_trill", "spoken", "straight", "trill", "trillo", "vibrato", "vocal_fry")
OTHER_TECHNIQUES = ("fast_forte", "fast_piano", "forte", "messa", "pp", "slow_forte", "slow_piano")
TEST_SINGERS = ("f2", "f8", "m3", "m5", "m10")  # of the technique task
CHUNK_S = 132_000 / 44_100  # MARBLE's 3 s: 44 samples to the millisecond
SEED = 42617
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
    """Attributes: name as MARBLE's files; group: place of its recording among those of its technique, what splits go by."""

    name: str
    path: Path
    technique: str
    singer: str
    group: int
    start_s: float = 0.0
    stop_s: Optional[float] = None


def read_singer(data: Path, remainder: str = "drop", leading_silence: str = "cut") -> TaskData:
    """Chunks of all techniques with their singer; 12:8:5 of the groups are train, valid, test."""
    if (data / "train_s.txt").is_file():
        return _read_lists(data, "s", SINGERS)
    chunks, dropped = _chunks(data, remainder, leading_silence)
    rng = np.random.RandomState(SEED)
    _, _ = _technique_split(chunks, "recording", rng)  # drawn first, from the same generator
    rest, test = _group_split(chunks, [chunk.group for chunk in chunks], 0.2, rng)
    train, valid = _group_split(rest, [chunk.group for chunk in rest], 0.4, rng)
    return _task_data({"train": train, "valid": valid, "test": test}, SINGERS, "singer", dropped)


def read_technique(data: Path, remainder: str = "drop", leading_silence: str = "cut", validation: str = "recording") -> TaskData:
    """Chunks of ten techniques; five singers are the test, of the others two fifths of the groups valid.

    Args:
        remainder: "drop" what is left behind the last whole chunk, or "keep" it if it is over a third of one.
        leading_silence: "cut" it by voice activity, as MARBLE does, or "keep" it.
        validation: groups are places of a "recording" in its technique (MARBLE's code), or each "singer" (its paper: 9 to 6).
    """
    if (data / "train_t.txt").is_file():
        return _read_lists(data, "t", TECHNIQUES)
    chunks, dropped = _chunks(data, remainder, leading_silence)
    train, valid = _technique_split(chunks, validation, np.random.RandomState(SEED))
    test = [chunk for chunk in chunks if chunk.technique in TECHNIQUES and chunk.singer in TEST_SINGERS]
    return _task_data({"train": train, "valid": valid, "test": test}, TECHNIQUES, "technique", dropped)


def _technique_split(chunks: List[Chunk], validation: str, rng: np.random.RandomState) -> Tuple[List[Chunk], List[Chunk]]:
    pool = [chunk for chunk in chunks if chunk.technique in TECHNIQUES and chunk.singer not in TEST_SINGERS]
    return _group_split(pool, [chunk.group if validation == "recording" else chunk.singer for chunk in pool], 0.4, rng)


def _group_split(chunks: List[Chunk], groups: List, share: float, rng: np.random.RandomState) -> Tuple[List[Chunk], List[Chunk]]:
    """(rest, `share` of the groups)."""
    from sklearn.model_selection import GroupShuffleSplit

    if len(set(groups)) < 2:
        raise MertError(f"VocalSet: {len(chunks)} chunks of {len(set(groups))} recordings per technique cannot be split; {MEND}")
    rest, held = next(GroupShuffleSplit(1, test_size=share, random_state=rng).split(chunks, groups=groups))
    return [chunks[place] for place in rest], [chunks[place] for place in held]


def _chunks(data: Path, remainder: str, leading_silence: str) -> Tuple[List[Chunk], List[str]]:
    """Chunks of all recordings, by technique and name; what is left out."""
    files, dropped = _recordings(folder_of(data, ROOTS, "*male*/*/*/*.wav", MEND))
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
                chunks.append(Chunk(f"{technique}/{stem}_{number:02d}", path, technique, singer, group, start, stop))
    return chunks, dropped


def _recordings(root: Path) -> Tuple[Dict[str, Dict[str, Path]], List[str]]:
    """(technique -> name with singer, without .wav -> file; what is left out). Of two of one name the later path is taken."""
    files: Dict[str, Dict[str, Path]] = {technique: {} for technique in TECHNIQUES + OTHER_TECHNIQUES}
    dropped = []
    for path in sorted(root.glob("*male*/*/*/*.wav")):
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


def _read_lists(data: Path, task: str, classes: Tuple[str, ...]) -> TaskData:
    """MARBLE's lists of files that it has cut."""
    number = {name: place for place, name in enumerate(classes)}
    items, lists = [], [data / f"{split}_{task}.txt" for split in SPLITS]
    for split, path in zip(SPLITS, lists):
        for line in lines_of(path, f"MARBLE's preprocess.py writes all three, or remove them; {MEND}"):
            technique, _, name = line.rpartition("/")
            label = class_of(technique if task == "t" else name.split("_")[0], number, f"{path}: {line}", MEND)
            items.append(Item(line.removesuffix(".wav"), data / "audio" / line, split, label))
    return TaskData(items, classes, [], lists)


def _task_data(splits: Dict[str, List[Chunk]], classes: Tuple[str, ...], key: str, dropped: List[str]) -> TaskData:
    number = {name: place for place, name in enumerate(classes)}
    items = [
        Item(chunk.name, chunk.path, split, number[getattr(chunk, key)], chunk.start_s, chunk.stop_s)
        for split, chunks in splits.items()
        for chunk in chunks
    ]
    return TaskData(items, classes, dropped)
