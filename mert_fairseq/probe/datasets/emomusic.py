"""Emomusic ("1000 songs"): 744 excerpts of 45 s with arousal and valence.

    songs_info.csv            song_id, file_name, Artist, Song title, ..., Mediaeval 2013 set
    static_annotations.csv    song_id, mean_arousal, std_arousal, mean_valence, std_valence
    clips_45seconds/2.mp3
"""

import hashlib
from pathlib import Path
from typing import Dict, Tuple

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import class_of, folder_of, number_of, table_of
from mert_fairseq.probe.items import Item, TaskData
from mert_fairseq.probe.task import Dataset

DATASET = Dataset(
    name="EMO",
    licence="audio Creative Commons (Free Music Archive), annotations for research",
    size="0.7 GB, 744 MP3 of 45 s",
    where="cvml.unige.ch/databases/emoMusic/: clips_45sec.tar.gz, annotations.tar.gz",
    layout=(
        "songs_info.csv static_annotations.csv    (or in annotations/)\n"
        "clips_45seconds/<song_id>.mp3            (or emomusic/wav/<4 digits>.wav, as MARBLE has them)"
    ),
)
MEND = f"get it from {DATASET.where}"
INFO = ["song_id", "Artist", "Mediaeval 2013 set"]
STATIC = ["song_id", "mean_arousal", "mean_valence"]
SETS = {"evaluation": "test", "development": "train"}
SCALE = (1, 9)  # of the annotators
TRAIN_TENTHS = 8  # of the development set, by artist; the rest is valid


def read(data: Path) -> TaskData:
    """Excerpts with [arousal, valence], each less the mean and over the deviation of the development set.

    Test is the evaluation set of MediaEval 2013; train and valid are told apart by artist (MARBLE tasks/EMO/preprocess.py,
    after jukemir).
    """
    tables = folder_of(data, [".", "annotations"], "songs_info.csv", MEND)
    audio = folder_of(data, ["clips_45seconds", "emomusic/wav"], "*", MEND)
    name_of = "{:04d}.wav" if audio.name == "wav" else "{}.mp3"
    splits, values = _splits(tables / "songs_info.csv"), _values(tables / "static_annotations.csv")
    missing = sorted(set(splits) - set(values))
    if missing:
        raise MertError(f"{tables / 'static_annotations.csv'}: no row of song_id {missing[0]}, which songs_info.csv has; {MEND}")
    labels = _normalised(splits, values)
    items = [Item(f"{number:04d}", audio / name_of.format(number), split, labels[number]) for number, split in sorted(splits.items())]
    return TaskData(items, ("arousal", "valence"), [], [tables / "songs_info.csv", tables / "static_annotations.csv"])


def artist_split(artist: str) -> str:
    """Train or valid, by the SHA1 of the name's lower-case ASCII letters and single blanks, modulo 10."""
    letters = "".join(letter for letter in artist.lower() if letter.isascii() and (letter.isalpha() or letter.isspace()))
    place = int(hashlib.sha1(" ".join(letters.split()).encode()).hexdigest(), 16) % 10
    return "train" if place < TRAIN_TENTHS else "valid"


def _splits(path: Path) -> Dict[int, str]:
    """Song -> split."""
    found = {}
    for line, row in table_of(path, ",", INFO, MEND):
        split = class_of(row["Mediaeval 2013 set"], SETS, f"{path}: line {line}, Mediaeval 2013 set", MEND)
        number = int(number_of(row["song_id"], f"{path}: line {line}, song_id", (1, 1e6), MEND))
        if number in found:
            raise MertError(f"{path}: line {line}: song_id {number} a second time; {MEND}")
        found[number] = split if split == "test" else artist_split(row["Artist"])
    return found


def _values(path: Path) -> Dict[int, Tuple[float, float]]:
    """Song -> (arousal, valence) as annotated."""
    found = {}
    for line, row in table_of(path, ",", STATIC, MEND):
        number = int(number_of(row["song_id"], f"{path}: line {line}, song_id", (1, 1e6), MEND))
        arousal, valence = (number_of(row[column], f"{path}: line {line}, {column}", SCALE, MEND) for column in STATIC[1:])
        found[number] = (arousal, valence)
    return found


def _normalised(splits: Dict[int, str], values: Dict[int, Tuple[float, float]]) -> Dict[int, np.ndarray]:
    """Song -> float32 [2], by mean and deviation over train and valid together."""
    development = np.array([values[number] for number, split in splits.items() if split != "test"]).reshape(-1, 2)
    if len(development) < 2 or not development.std(axis=0).all():
        raise MertError(f"{len(development)} songs outside the evaluation set; at least 2 of different values needed; {MEND}")
    mean, deviation = development.mean(axis=0), development.std(axis=0)
    return {number: ((np.array(values[number]) - mean) / deviation).astype(np.float32) for number in splits}
