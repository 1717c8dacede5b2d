"""MagnaTagATune: 25,863 clips of 29 s with 188 tags, of which the 50 most frequent are predicted.

    annotations_final.csv           clip_id<TAB>no voice<TAB>singer<TAB>...<TAB>mp3_path, in double quotes
    mp3/f/american_bach_soloists-j_s__bach_solo_cantatas-01-bwv54__i_aria-30-59.mp3
"""

import re
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import class_of, folder_of, table_of
from mert_fairseq.probe.items import Item, TaskData
from mert_fairseq.probe.task import Dataset

DATASET = Dataset(
    name="MTT",
    licence="CC BY-NC-SA 3.0, research",
    size="3 GB, 25,863 MP3 of 29 s (16 kHz, mono)",
    where="mirg.city.ac.uk/codeapps/the-magnatagatune-dataset: mp3.zip.001 to .003 joined and unpacked, annotations_final.csv",
    layout="annotations_final.csv\nmp3/0 ... mp3/9 mp3/a ... mp3/f    (or 0 ... f beside the csv)",
)
MEND = f"get it from {DATASET.where}"
TAGS = 50  # most frequent over the whole set (MARBLE tasks/MTT/preprocess.py)
SPLITS = {folder: "train" if folder < "c" else "valid" if folder < "d" else "test" for folder in "0123456789abcdef"}
SECONDS = re.compile(r"-\d+-\d+\.mp3$")  # of the song that a clip is: f/<artist>-<album>-<number>-<song>-30-59.mp3
ZERO_ONE = {"0": 0, "1": 1}
#: Empty in the published archive (MARBLE issue 5).
BROKEN = (
    "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
    "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_couperin-88-117.mp3",
)


def read(data: Path, untagged: str = "keep") -> TaskData:
    """Clips with the 50 most frequent tags; folders 0-b train, c valid, d-f test (12:1:3, MARBLE tasks/MTT/preprocess.py).

    Args:
        untagged: "keep" clips without any of the 50 tags, as MARBLE does; "drop" them, as others do.
    """
    path = data / "annotations_final.csv"
    rows = table_of(path, "\t", ["clip_id", "mp3_path"], MEND)
    tags, counts = _tag_counts(path, rows)
    top = np.argsort(-counts.sum(axis=0), kind="stable")[:TAGS]
    audio = folder_of(data, ["mp3", "."], "[0-9a-f]/", MEND)
    items, dropped = [], []
    for (line, row), label in zip(rows, counts[:, top]):
        name = row["mp3_path"]
        if name in BROKEN:
            dropped.append(f"{name}: empty in the published archive")
        elif untagged == "drop" and not label.any():
            dropped.append(f"{name}: none of the {TAGS} tags")
        else:
            split = class_of(name[:1], SPLITS, f"{path}: line {line}, folder", MEND)
            items.append(Item(name, audio / name, split, label.astype(np.float32), recording=SECONDS.sub("", name)))
    return TaskData(items, tuple(tags[column] for column in top), dropped, [path])


def _tag_counts(path: Path, rows: List[Tuple[int, Dict[str, str]]]) -> Tuple[List[str], np.ndarray]:
    """(names of all tags, int8 [N, 188] of 0 and 1)."""
    tags = [name for name in (rows[0][1] if rows else {}) if name not in ("clip_id", "mp3_path")]
    if len(tags) < TAGS:
        raise MertError(f"{path}: {len(tags)} tags in {len(rows)} rows, at least {TAGS} expected; {MEND}")
    found = np.empty((len(rows), len(tags)), np.int8)
    for place, (line, row) in enumerate(rows):
        found[place] = [ZERO_ONE[row[tag]] if row[tag] in ZERO_ONE else _no_tag(path, line, tag, row[tag]) for tag in tags]
    return tags, found


def _no_tag(path: Path, line: int, tag: str, text: str) -> int:
    return class_of(text, ZERO_ONE, f"{path}: line {line}, tag {tag!r}", MEND)
