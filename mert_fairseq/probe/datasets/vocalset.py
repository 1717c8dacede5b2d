"""VocalSet: 20 singers, 17 techniques, 10 hours; the singer or the technique of each 3 s.

    FULL/female1/arpeggios/belt/f1_arpeggios_belt_c_a.wav      singer, context, technique, file
    data_by_singer/female1/...                                 the same in version 1.2

`vocalset_chunks` cuts the recordings. MARBLE cuts the recordings to files; where its lists and files are there, they are used as they are:

    train_s.txt valid_s.txt test_s.txt train_t.txt valid_t.txt test_t.txt      belt/f1_arpeggios_belt_c_a_00.wav
    audio/belt/f1_arpeggios_belt_c_a_00.wav
"""

import re
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets.annotation_files import class_of, folder_of, lines_of
from mert_fairseq.probe.datasets.vocalset_chunks import FILES, SINGERS, TECHNIQUES, Chunk, chunks_of
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
TEST_SINGERS = ("f2", "f8", "m3", "m5", "m10")  # of the technique task
SEED = 42617
NUMBER = re.compile(r"_\d+$")  # of a chunk in its recording


def read_singer(data: Path, remainder: str = "drop", leading_silence: str = "cut") -> TaskData:
    """Chunks of all techniques with their singer; 12:8:5 of the groups are train, valid, test."""
    if (data / "train_s.txt").is_file():
        return _read_lists(data, "s", SINGERS)
    chunks, dropped = chunks_of(folder_of(data, ROOTS, FILES, MEND), remainder, leading_silence)
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
    chunks, dropped = chunks_of(folder_of(data, ROOTS, FILES, MEND), remainder, leading_silence)
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


def _read_lists(data: Path, task: str, classes: Tuple[str, ...]) -> TaskData:
    """MARBLE's lists of files that it has cut."""
    number = {name: place for place, name in enumerate(classes)}
    items, lists = [], [data / f"{split}_{task}.txt" for split in SPLITS]
    for split, path in zip(SPLITS, lists):
        for line in lines_of(path, f"MARBLE's preprocess.py writes all three, or remove them; {MEND}"):
            technique, _, file = line.rpartition("/")
            label = class_of(technique if task == "t" else file.split("_")[0], number, f"{path}: {line}", MEND)
            name = line.removesuffix(".wav")
            items.append(Item(name, data / "audio" / line, split, label, recording=NUMBER.sub("", name)))
    return TaskData(items, classes, [], lists)


def _task_data(splits: Dict[str, List[Chunk]], classes: Tuple[str, ...], key: str, dropped: List[str]) -> TaskData:
    number = {name: place for place, name in enumerate(classes)}
    items = [
        Item(chunk.name, chunk.path, split, number[getattr(chunk, key)], chunk.start_s, chunk.stop_s, chunk.recording)
        for split, chunks in splits.items()
        for chunk in chunks
    ]
    return TaskData(items, classes, dropped)
