"""MTG-Jamendo: 55,000 full tracks with tags of genre, instrument and mood; four sets of tags.

    mtg-jamendo-dataset/data/splits/split-0/autotagging_moodtheme-train.tsv      lines end in CR LF in some
        TRACK_ID<TAB>ARTIST_ID<TAB>ALBUM_ID<TAB>PATH<TAB>DURATION<TAB>TAGS
        track_1026811<TAB>artist_370789<TAB>album_120715<TAB>11/1026811.mp3<TAB>215.3<TAB>mood/theme---slow<TAB>mood/theme---sad
    audio-low/11/1026811.low.mp3
"""

import functools
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import folder_of, text_of
from mert_fairseq.probe.items import Item, TaskData
from mert_fairseq.probe.task import Dataset

DATASET = Dataset(
    name="MTG",
    licence="audio Creative Commons, each track its own; metadata CC BY-NC-SA 4.0",
    size="156 GB (audio-low) or 508 GB (audio), 55,701 MP3 of 30 s and more",
    where=(
        "github.com/MTG/mtg-jamendo-dataset: the repository, and in it"
        " `python3 scripts/download/download.py --dataset raw_30s --type audio-low AUDIO_DIR --unpack --remove`"
    ),
    layout=(
        "mtg-jamendo-dataset/data/splits/split-0/autotagging_{instrument,moodtheme,genre,top50tags}-{train,validation,test}.tsv\n"
        "audio-low/<2 digits>/<track>.low.mp3    (or audio/<2 digits>/<track>.mp3)"
    ),
)
MEND = f"get it from {DATASET.where}"
FILES = {"train": "train", "valid": "validation", "test": "test"}
AUDIO = ["audio-low", "raw_30s/audio-low", "audio", "raw_30s/audio", "mtg-jamendo-dataset/audio-low", "mtg-jamendo-dataset/audio", "."]
FIRST_TAG = 5  # column
#: What tags of each set begin with, before "---".
KINDS = {
    "instrument": ("instrument",),
    "moodtheme": ("mood/theme",),
    "genre": ("genre",),
    "top50tags": ("genre", "instrument", "mood/theme"),
}


def _read(data: Path, tags: str, split: str = "0") -> TaskData:
    """Tracks of one set of tags; the tags are those that occur in the three lists, in order of appearance."""
    lists = folder_of(data, [f"mtg-jamendo-dataset*/data/splits/split-{split}", f"data/splits/split-{split}"], "autotagging*", MEND)
    paths = {name: lists / f"autotagging_{tags}-{suffix}.tsv" for name, suffix in FILES.items()}
    rows = {name: _rows(path, KINDS[tags]) for name, path in paths.items()}
    place = {tag: number for number, tag in enumerate(dict.fromkeys(tag for found in rows.values() for _, row in found for tag in row))}
    path_of = _audio(data, [name for found in rows.values() for name, _ in found])
    items = [
        Item(track, path_of(track), name, _indicator([place[tag] for tag in row], len(place)))
        for name, found in rows.items()
        for track, row in found
    ]
    return TaskData(items, tuple(place), [], list(paths.values()))


read_instrument = functools.partial(_read, tags="instrument")
read_moodtheme = functools.partial(_read, tags="moodtheme")
read_genre = functools.partial(_read, tags="genre")
read_top50 = functools.partial(_read, tags="top50tags")


def _rows(path: Path, kinds: Tuple[str, ...]) -> List[Tuple[str, List[str]]]:
    """(path of the track, its tags) of each line."""
    rows = []
    for number, line in enumerate(text_of(path, MEND).split("\n")[1:], 2):
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) <= FIRST_TAG:
            if line.strip():
                raise MertError(f"{path}: line {number} has {len(fields)} fields, at least {FIRST_TAG + 1} expected; {MEND}")
            continue
        tags = [tag for tag in fields[FIRST_TAG:] if tag]
        strange = [tag for tag in tags if tag.split("---")[0] not in kinds]
        if strange:
            raise MertError(f"{path}: line {number}: label {strange[0]!r} begins with none of {', '.join(kinds)}; {MEND}")
        rows.append((fields[FIRST_TAG - 2], tags))
    return rows


def _audio(data: Path, tracks: List[str]) -> Callable[[str], Path]:
    """Track -> file, in the first folder that has one of the first hundred tracks, of either bit rate."""
    suffixes: Dict[str, str] = {"low": ".low.mp3", "full": ".mp3"}
    for folder in (data / name for name in AUDIO):
        for suffix in suffixes.values():
            if any((folder / track).with_suffix(suffix).exists() for track in tracks[:100]):
                return functools.partial(_track_path, folder, suffix)
    raise MertError(f"{data}: none of the first tracks, e.g. {tracks[0] if tracks else '-'}, in {', '.join(AUDIO[:4])}; {MEND}")


def _track_path(folder: Path, suffix: str, track: str) -> Path:
    return (folder / track).with_suffix(suffix)


def _indicator(places: List[int], length: int) -> np.ndarray:
    found = np.zeros(length, np.float32)
    found[places] = 1
    return found
