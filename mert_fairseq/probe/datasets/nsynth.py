"""NSynth: 306,000 notes of 4 s, with instrument family and pitch.

    nsynth-train/examples.json     {"bass_synthetic_033-022-050": {"instrument_family_str": "bass", "pitch": 22, ...}, ...}
    nsynth-train/audio/bass_synthetic_033-022-050.wav
"""

from pathlib import Path
from typing import Callable, Dict, Tuple

from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import class_of, folder_of, json_of
from mert_fairseq.probe.items import SPLITS, Item, TaskData
from mert_fairseq.probe.task import Dataset

DATASET = Dataset(
    name="NSynth",
    licence="CC BY 4.0",
    size="25 GB packed, 39 GB unpacked, 305,979 WAV of 4 s (16 kHz, mono)",
    where="magenta.tensorflow.org/datasets/nsynth: nsynth-train.jsonwav.tar.gz, nsynth-valid..., nsynth-test...",
    layout=(
        "nsynth-train/examples.json nsynth-train/audio/<note>.wav    (or all three in nsynth-data/)\n"
        "nsynth-valid/examples.json nsynth-valid/audio/<note>.wav\n"
        "nsynth-test/examples.json  nsynth-test/audio/<note>.wav"
    ),
)
MEND = f"get it from {DATASET.where}"
FAMILIES = ("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal")
CLASSES = {family: number for number, family in enumerate(FAMILIES)}
PITCHES = {str(pitch): pitch for pitch in range(128)}  # MIDI


def read_instrument(data: Path) -> TaskData:
    """Notes with the family of their instrument; no test note is a synth_lead."""
    return _read(data, FAMILIES, "instrument_family_str", lambda text, where: class_of(text, CLASSES, where, MEND))


def read_pitch(data: Path) -> TaskData:
    """Notes with their MIDI pitch as the class number (MARBLE's class is one less: the same 128 outputs)."""
    return _read(data, tuple(PITCHES), "pitch", lambda text, where: class_of(text, PITCHES, where, MEND))


def _read(data: Path, classes: Tuple[str, ...], key: str, label_of: Callable[[str, str], int]) -> TaskData:
    root = folder_of(data, [".", "nsynth-data"], "nsynth-[tv]*/", MEND)
    items, annotations = [], []
    for split in SPLITS:
        folder = root / f"nsynth-{split}"
        path = folder / "examples.json"
        for name, note in json_of(path, MEND).items():
            label = label_of(_field(note, key, name, path), f"{path}: {name}")
            items.append(Item(f"nsynth-{split}/{name}", folder / "audio" / f"{name}.wav", split, label))
        annotations.append(path)
    return TaskData(items, classes, [], annotations)


def _field(note: Dict[str, object], key: str, name: str, path: Path) -> str:
    if not isinstance(note, dict) or key not in note:
        raise MertError(f"{path}: {name} has no {key!r}; {MEND}")
    return str(note[key])
