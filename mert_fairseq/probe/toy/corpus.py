"""The made-up clips on disk.

    DIR/toy.json           version
    DIR/{task}/{split}-{number}.flac
    DIR/{task}/labels.tsv  clip, split, class

Everything follows from the seed. A task whose labels.tsv is there is complete.
"""

import json
from pathlib import Path
from typing import List

import numpy as np
import soundfile

from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.probe.items import SPLITS, Item, TaskData
from mert_fairseq.probe.toy.soundfont import SoundFont
from mert_fairseq.probe.toy.tasks import KITS, TOY_TASKS, programs_of

VERSION = 3
CLIPS = {"train": 240, "valid": 96, "test": 576}  # of each task, classes in turn


def build(folder: Path, seed: int = 0) -> None:
    """Writes what is missing, in about half a minute.

    Raises:
        MertError: the folder holds another version or seed, or no sound font is installed.
    """
    content, path = {"version": VERSION, "seed": seed, "clips": CLIPS}, folder / "toy.json"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else content
    except ValueError:
        found = None
    if found != content:
        raise MertError(f"{path}: holds clips of another version or seed; give another folder, or remove {folder}")
    with written_whole(path) as part:
        part.write_text(json.dumps(content) + "\n", encoding="utf-8")
    font = None
    for number, name in enumerate(TOY_TASKS):
        if not (folder / name / "labels.tsv").exists():
            font = font or SoundFont()
            _build_task(folder / name, name, font, np.random.default_rng([seed, number]))


def _build_task(folder: Path, name: str, font: SoundFont, rng: np.random.Generator) -> None:
    task, lines = TOY_TASKS[name], []
    folder.mkdir(exist_ok=True)
    for split in SPLITS:
        programs = programs_of(split)
        for number in range(CLIPS[split]):
            label = number % len(task.classes)
            notes, instruments = task.play(rng, label, programs)
            kit = KITS[split][number % len(KITS[split])]
            clip = f"{split}-{number:03d}.flac"
            soundfile.write(folder / clip, font.render(notes, instruments, task.seconds, kit), SAMPLE_RATE)
            lines.append(f"{clip}\t{split}\t{task.classes[label]}\n")
    with written_whole(folder / "labels.tsv") as part:
        part.write_text("".join(lines), encoding="utf-8")


def read(folder: Path, name: str) -> TaskData:
    """Items of one task of a built folder. Raises MertError where it is not built, or a label is none of the classes."""
    path, classes = folder / name / "labels.tsv", tuple(TOY_TASKS[name].classes)
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        raise MertError(f"{path}: missing; `mert probe toy` makes it") from None
    items: List[Item] = []
    for row in rows:
        if len(row) != 3 or row[1] not in SPLITS or row[2] not in classes:
            raise MertError(f"{path}: row {row} is none of ours; remove {folder} and run `mert probe toy` again")
        items.append(Item(f"{name}/{row[0]}", folder / name / row[0], row[1], classes.index(row[2])))
    return TaskData(items, classes, annotations=[path])
