"""MUSDB18: 150 songs as mixture and four stems; 86 to train on, 14 for validation, 50 for the test.

    train/Actions - Devil's Words/mixture.wav vocals.wav drums.wav bass.wav other.wav     as WAV (MUSDB18-HQ, or by musdbconvert)
    train/Actions - Devil's Words.stem.mp4                                                or as STEMS
"""

import importlib.util
from pathlib import Path
from typing import Dict, List

import yaml

from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import folder_of, text_of
from mert_fairseq.probe.items import Item, StemFiles, TaskData
from mert_fairseq.probe.task import Dataset

DATASET = Dataset(
    name="MUSDB18",
    licence="research only, each song its own (sigsep.github.io/datasets/musdb.html)",
    size="4.7 GB (STEMS), or 23 GB (MUSDB18-HQ, WAV), 150 songs, 10 h",
    where="zenodo.org/records/1117372 (STEMS; `musdbconvert musdb18 musdb18_wav` gives WAV) or zenodo.org/records/3338373 (HQ)",
    layout=(
        "train/<song>/{mixture,vocals,drums,bass,other}.wav    (or train/<song>.stem.mp4)\n"
        "test/<song>/{mixture,vocals,drums,bass,other}.wav\n"
        "valid/<song>/...    (may be left out: the 14 songs are then those that the musdb package names)"
    ),
)
MEND = f"get it from {DATASET.where}"
STEMS = ("mixture", "vocals", "drums", "bass", "other")
STEM_FILE = ".stem.mp4"


def read(data: Path) -> TaskData:
    """Songs with their stems; the label is the files."""
    root = folder_of(data, [".", "musdb18", "musdb18hq", "musdb18_wav"], "train", MEND)
    songs = {split: _songs(root / split) for split in ("train", "test")}
    if (root / "valid").is_dir():
        songs["valid"] = _songs(root / "valid")
    else:
        names = validation_songs()
        songs["valid"] = {name: stems for name, stems in songs["train"].items() if name in names}
        songs["train"] = {name: stems for name, stems in songs["train"].items() if name not in names}
    items = [
        Item(name, stems.mixture if is_stem_file(stems.mixture) else stems.mixture.parent, split, stems)
        for split in ("train", "valid", "test")
        for name, stems in songs[split].items()
    ]
    return TaskData(items, STEMS[1:])


def is_stem_file(path: Path) -> bool:
    """Whether a file is of the STEMS release, all stems in one."""
    return path.name.endswith(STEM_FILE)


def validation_songs() -> List[str]:
    """The 14 songs of the train folder that the `musdb` package keeps for validation (its configs/mus.yaml)."""
    found = importlib.util.find_spec("musdb")  # importing it would import stempeg, which wants ffmpeg
    if found is None or not found.submodule_search_locations:
        raise MertError("the list of validation songs is in the musdb package, which is missing; pip install 'mert-fairseq[probing]'")
    path = Path(found.submodule_search_locations[0]) / "configs" / "mus.yaml"
    return list(yaml.safe_load(text_of(path, "pip install --force-reinstall musdb"))["validation_tracks"])


def _songs(folder: Path) -> Dict[str, StemFiles]:
    """Name -> files, sorted by name; raises MertError for a song without one of its stems."""
    if not folder.is_dir():
        raise MertError(f"{folder}: no such folder; {MEND}")
    found = {}
    for path in sorted(folder.iterdir()):
        if is_stem_file(path):
            found[path.name.removesuffix(STEM_FILE)] = StemFiles(*[path] * len(STEMS))
        elif path.is_dir() and not path.name.startswith("."):
            files = [path / f"{stem}.wav" for stem in STEMS]
            missing = [file for file in files if not file.is_file()]
            if missing:
                raise MertError(f"{missing[0]}: no such file; {MEND}")
            found[path.name] = StemFiles(*files)
    return found
