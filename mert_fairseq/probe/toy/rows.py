"""The made-up tasks as rows that are probed like the published ones."""

import functools
from typing import Dict

from mert_fairseq.probe.task import Dataset, HeadSettings, Task
from mert_fairseq.probe.toy.corpus import CLIPS, read
from mert_fairseq.probe.toy.tasks import TOY_TASKS

DATASET = Dataset("toy", "none: made by the command", "150 MB", "`mert probe toy`", "toy/{task}/labels.tsv and its clips")
#: Standardized, since the clips are few and the states of trained models have dimensions that dwarf the others.
HEAD = HeadSettings(epochs=60, patience=12, plateau=4, standardized=True)
RATES = (1e-3, 5e-3)


def toy_rows() -> Dict[str, Task]:
    """By name. Chance is 1 in the number of classes."""
    return {
        name: Task(
            name=name,
            title=f"made-up music: {name}, {len(task.classes)} classes",
            dataset=DATASET,
            kind="classes",
            read=functools.partial(read, name=name),
            counts=dict(CLIPS),
            metrics=("accuracy",),
            monitor="accuracy",
            head=HEAD,
            seconds=(task.seconds, task.seconds),
        )
        for name, task in TOY_TASKS.items()
    }
