"""Tags of clips and tracks: MagnaTagATune and four sets of MTG-Jamendo."""

from typing import Dict, Tuple

from mert_fairseq.probe.datasets import magnatagatune, mtg_jamendo
from mert_fairseq.probe.task import HeadSettings, Hearing, Option, Task

METRICS = ("roc_auc", "average_precision")
HEAD = HeadSettings(epochs=100, patience=10, plateau=3)


def _mtg(name: str, title: str, read, counts: Dict[str, int], tags: str) -> Task:
    return Task(
        name=name,
        title=title,
        dataset=mtg_jamendo.DATASET,
        kind="tags",
        read=read,
        counts=counts,
        metrics=METRICS,
        monitor="roc_auc",
        hearing=Hearing(window_s=30),
        head=HEAD,
        choices=(
            tags,
            "Each 30 s window is an example and logits are averaged over a track (MARBLE's code); its paper averages embeddings.",
        ),
        options=(Option("split", ("0", "1", "2", "3", "4"), "the dataset has five; published numbers are of split 0", "data"),),
        seconds=(25, 7200),
    )


MTT = Task(
    name="MTT",
    title="music tagging, 50 tags",
    dataset=magnatagatune.DATASET,
    kind="tags",
    read=magnatagatune.read,
    counts={"train": 18706, "valid": 1825, "test": 5329},
    metrics=METRICS,
    monitor="roc_auc",
    head=HEAD,
    choices=(
        "Clips without any of the 50 tags are kept (MARBLE), and count as examples of no tag.",
        "Clips of one song are drawn together for the interval.",
    ),
    options=(Option("untagged", ("keep", "drop"), "clips without any of the 50 tags; MARBLE keeps them, others drop them", "data"),),
    seconds=(28, 31),
)

MTG: Tuple[Task, ...] = (
    _mtg(
        "MTGInstrument",
        "instruments, 40 tags",
        mtg_jamendo.read_instrument,
        {"train": 14395, "valid": 5466, "test": 5115},
        "The 40 tags of the split files; MARBLE's paper counts the 41 of the whole set.",
    ),
    _mtg(
        "MTGMood",
        "mood and theme, 56 tags",
        mtg_jamendo.read_moodtheme,
        {"train": 9949, "valid": 3802, "test": 4231},
        "The 56 tags of the split files; MARBLE's paper counts the 59 of the whole set.",
    ),
    _mtg(
        "MTGGenre",
        "genres, 87 tags",
        mtg_jamendo.read_genre,
        {"train": 32572, "valid": 11043, "test": 11479},
        "The 87 tags of the split files; MARBLE's paper counts the 95 of the whole set.",
    ),
    _mtg(
        "MTGTop50",
        "the 50 most frequent tags",
        mtg_jamendo.read_top50,
        {"train": 32136, "valid": 10888, "test": 11356},
        "The 50 tags of the split files.",
    ),
)
