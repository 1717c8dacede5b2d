"""GiantSteps keys of electronic dance music: trained on the MTG set, tested on the 604 previews of the key set.

    giantsteps-mtg-key-dataset/annotations/annotations.txt         ID<TAB>MANUAL KEY<TAB>C        299547  D# minor  2
    giantsteps-mtg-key-dataset/annotations/beatport_metadata.txt   ID<TAB>ARTIST<TAB>...
    giantsteps-mtg-key-dataset/md5/299547.LOFI.md5                 which tracks there are
    giantsteps-mtg-key-dataset/audio/299547.LOFI.mp3
    giantsteps-key-dataset/annotations/key/10089.LOFI.key          D major
    giantsteps-key-dataset/md5/10089.LOFI.md5, audio/10089.LOFI.mp3
"""

import hashlib
from pathlib import Path
from typing import Dict, List, Tuple

from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import class_of, folder_of, table_of, text_of
from mert_fairseq.probe.items import Item, TaskData
from mert_fairseq.probe.task import Dataset

DATASET = Dataset(
    name="GS",
    licence="annotations CC BY-SA 4.0; audio are previews of Beatport, for research",
    size="3 GB, 2,090 MP3 of 2 min",
    where=(
        "github.com/GiantSteps/giantsteps-key-dataset and giantsteps-mtg-key-dataset, the audio of each by its audio_dl.sh"
        " or from www.cp.jku.at/datasets/giantsteps/"
    ),
    layout=(
        "giantsteps-mtg-key-dataset*/annotations/annotations.txt beatport_metadata.txt\n"
        "giantsteps-mtg-key-dataset*/md5/<number>.LOFI.md5\n"
        "giantsteps-mtg-key-dataset*/audio/<number>.LOFI.mp3    (or all audio in audio/)\n"
        "giantsteps-key-dataset*/annotations/key/<number>.LOFI.key, md5/, audio/"
    ),
)
MEND = f"get it from {DATASET.where}"
FLATS = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb"}
TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{tonic} {scale}" for scale in ("major", "minor") for tonic in TONICS)
CLASSES = {key: number for number, key in enumerate(KEYS)}
CERTAIN = "2"  # confidence, from 0
TRAIN_SHARE, VALID_SHARE = 100, 16  # of 116 (MARBLE tasks/GS/preprocess.py, after jukemir)


def read(data: Path) -> TaskData:
    """Songs with one of 24 keys.

    Of the MTG set those of confidence 2 with a single key (Korzeniowski and Widmer 2018), by artist in train and valid.
    """
    mtg = folder_of(data, ["giantsteps-mtg-key-dataset*"], "annotations", MEND)
    test = folder_of(data, ["giantsteps-key-dataset*"], "annotations", MEND)
    items, dropped = _train_pool(mtg, _audio(mtg, data))
    path_of, keys = _audio(test, data), _by_number(test / "annotations" / "key")
    for number in sorted(_by_number(test / "md5")):
        key_file = keys.get(number, test / "annotations" / "key" / f"{number}.LOFI.key")
        label = _key(text_of(key_file, MEND), str(key_file))
        items.append(Item(f"{number:07d}", path_of.get(number, test / "audio" / f"{number}.LOFI.mp3"), "test", label))
    annotations = [mtg / "annotations" / name for name in ("annotations.txt", "beatport_metadata.txt")] + sorted(keys.values())
    return TaskData(items, KEYS, dropped, annotations)


def _train_pool(mtg: Path, path_of: Dict[int, Path]) -> Tuple[List[Item], List[str]]:
    table = mtg / "annotations" / "annotations.txt"
    annotated = {row["ID"].lstrip("0"): (line, row) for line, row in table_of(table, "\t", ["ID", "MANUAL KEY", "C"], MEND)}
    artists = _artists(mtg / "annotations" / "beatport_metadata.txt")
    split_of = artist_splits(list(artists.values()))
    items, dropped = [], []
    for number in sorted(_by_number(mtg / "md5")):
        line, row = class_of(str(number), annotated, str(table), MEND)
        if row["C"] != CERTAIN or "/" in row["MANUAL KEY"]:
            dropped.append(f"{number:07d}: key {row['MANUAL KEY']!r} of confidence {row['C']}; one key of confidence {CERTAIN} is used")
            continue
        names = class_of(str(number), artists, str(mtg / "annotations" / "beatport_metadata.txt"), MEND)
        split = "valid" if "valid" in (split_of[name] for name in names) else "train"
        path = path_of.get(number, mtg / "audio" / f"{number}.LOFI.mp3")
        items.append(Item(f"{number:07d}", path, split, _key(row["MANUAL KEY"], f"{table}: line {line}")))
    return items, dropped


def artist_splits(songs: List[List[str]]) -> Dict[str, str]:
    """Artist -> "train" or "valid": by the SHA1 of the lower-cased name modulo 116; who worked with a valid artist is valid.

    Args:
        songs: artists of each song, in the table's order; gone through twice, so collaborators of collaborators count.
    """
    split_of = {}
    for artist in (name for names in songs for name in names):
        place = int(hashlib.sha1(artist.lower().encode()).hexdigest(), 16) % (TRAIN_SHARE + VALID_SHARE)
        split_of[artist] = "train" if place < TRAIN_SHARE else "valid"
    for names in songs + songs:
        if "valid" in [split_of[name] for name in names]:
            split_of.update(dict.fromkeys(names, "valid"))
    return split_of


def _artists(path: Path) -> Dict[str, List[str]]:
    """Number -> names of its artists, which commas separate."""
    rows = table_of(path, "\t", ["ID", "ARTIST"], MEND)
    return {row["ID"].lstrip("0"): [name.strip() for name in row["ARTIST"].split(",")] for _, row in rows}


def _key(text: str, where: str) -> int:
    tonic, _, scale = " ".join(text.split()).partition(" ")
    return class_of(f"{FLATS.get(tonic, tonic)} {scale}", CLASSES, where, MEND)


def _audio(folder: Path, data: Path) -> Dict[int, Path]:
    """Number -> file, of the set's own audio folder or of one for both sets."""
    place = next((place for place in (folder / "audio", data / "audio") if place.is_dir()), None)
    if place is None:
        raise MertError(f"{folder / 'audio'}: no such folder, nor {data / 'audio'}; {MEND}")
    return _by_number(place)


def _by_number(folder: Path) -> Dict[int, Path]:
    """Number -> file; 10089.LOFI.key is 0010089.LOFI.key in later versions."""
    if not folder.is_dir():
        raise MertError(f"{folder}: no such folder; {MEND}")
    return {int(path.name.split(".")[0]): path for path in sorted(folder.iterdir()) if path.name.split(".")[0].isdecimal()}
