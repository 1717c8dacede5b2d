"""The 14 tasks, one row each, in the order of the published tables.

Settings are those of MARBLE v1 (facts of its configs/mert/MERT-v1-95M and tasks/*), which the published numbers come from; where
its paper and its code disagree, the row says what is done here and, where the other reading changes a number, offers it.
"""

from typing import Dict, List

from mert_fairseq.errors import MertError
from mert_fairseq.probe.datasets import (
    emomusic,
    giantsteps,
    gtzan,
    magnatagatune,
    mtg_jamendo,
    musdb18,
    nsynth,
    vocalset,
)
from mert_fairseq.probe.separation.settings import CHOICES as SEPARATION_CHOICES
from mert_fairseq.probe.task import HeadSettings, Hearing, Option, Task

TAG_METRICS = ("roc_auc", "average_precision")
TAG_HEAD = HeadSettings(epochs=100, patience=10, plateau=3)
NOTE_HEAD = HeadSettings(epochs=50, patience=10, plateau=3)
GTZAN_HEAD = HeadSettings(epochs=100, patience=20, plateau=6)
EMO_HEARINGS = {"30s": Hearing(window_s=5, first_s=30), "45s": Hearing(window_s=5), "slices": Hearing(window_s=15, least_s=12)}
VOCALSET_OPTIONS = (
    Option("remainder", ("drop", "keep"), "what is left behind the last whole 3 s; MARBLE's script drops it unless told", "data"),
    Option("leading_silence", ("cut", "keep"), "before the voice; MARBLE cuts it by a voice activity detector", "data"),
)
VOCALSET_CHOICES = (
    "Chunks are 132,000 samples at 44.1 kHz (2.993 s) as MARBLE's code cuts them, not 3 s as its paper says.",
    "Chunks are heard as loud as they are; MARBLE standardises each.",
    "No source tells the number of chunks, so counts are not checked.",
)


def _mtg(name: str, title: str, read, counts: Dict[str, int], tags: str) -> Task:
    return Task(
        name=name,
        title=title,
        dataset=mtg_jamendo.DATASET,
        kind="tags",
        read=read,
        counts=counts,
        metrics=TAG_METRICS,
        monitor="roc_auc",
        hearing=Hearing(window_s=30),
        head=TAG_HEAD,
        choices=(
            tags,
            "Each 30 s window is an example and logits are averaged over a track (MARBLE's code); its paper averages embeddings.",
        ),
        options=(Option("split", ("0", "1", "2", "3", "4"), "the dataset has five; published numbers are of split 0", "data"),),
        seconds=(25, 7200),
    )


_ROWS: List[Task] = [
    Task(
        name="MTT",
        title="music tagging, 50 tags",
        dataset=magnatagatune.DATASET,
        kind="tags",
        read=magnatagatune.read,
        counts={"train": 18706, "valid": 1825, "test": 5329},
        metrics=TAG_METRICS,
        monitor="roc_auc",
        head=TAG_HEAD,
        choices=("Clips without any of the 50 tags are kept (MARBLE), and count as examples of no tag.",),
        options=(Option("untagged", ("keep", "drop"), "clips without any of the 50 tags; MARBLE keeps them, others drop them", "data"),),
        seconds=(28, 31),
    ),
    Task(
        name="GS",
        title="key detection, 24 keys",
        dataset=giantsteps.DATASET,
        kind="classes",
        read=giantsteps.read,
        counts={"train": 923, "valid": 236, "test": 604},
        metrics=("weighted_score",),
        monitor="weighted_score",
        hearing=Hearing(window_s=30, least_s=30),
        head=HeadSettings(epochs=100, patience=20, plateau=5),
        choices=(
            "1,159 songs to train and validate on, which MARBLE's filter gives; its paper says 1,077.",
            "How windows make up a song is picked of four ways on the validation set (MARBLE v1); v2 takes the mean of the logits.",
            "The estimate a fifth above the reference counts 0.5, the one below nothing, as in mir_eval; MIREX's own tool counts both.",
        ),
        options=(Option("decision", ("best", "mean"), "a song from its windows: the best way on validation (v1), the mean (v2)", "score"),),
        seconds=(60, 600),
    ),
    Task(
        name="GTZAN",
        title="genre, 10 classes",
        dataset=gtzan.DATASET,
        kind="classes",
        read=gtzan.read_genre,
        counts={"train": 442, "valid": 197, "test": 290},
        metrics=("accuracy",),
        monitor="accuracy",
        hearing=Hearing(window_s=31),
        head=GTZAN_HEAD,
        choices=(
            "jazz.00054 is left out of train whatever the copy, as it is cut off in most: 442 tracks and not 443.",
            "A clip is heard as one window (31 s, as a few are a little over 30 s).",
        ),
        seconds=(29, 31),
    ),
    Task(
        name="GTZANBT",
        title="beat tracking",
        dataset=gtzan.RHYTHM,
        kind="beats",
        read=gtzan.read_rhythm,
        counts={"train": 442, "valid": 197, "test": 290},
        metrics=("f_measure",),
        monitor="f_measure",
        hearing=Hearing(window_s=31),
        head=GTZAN_HEAD,
        choices=(
            "A beat is found within 0.07 s (MARBLE's code, and the field's practice); its paper says 0.02 s.",
            "A clip is decoded as a whole; MARBLE v2 decodes slices of 10 s.",
            "Of each 10 s crop 150 random frames train a head, not all 750 (MARBLE v1), which are much alike.",
            "Epochs are compared by the average precision of frames, grid points by the F-measure of tracked beats.",
            "Beats behind a clip's end, which a few annotations have, are left out.",
        ),
        options=(Option("tolerance_s", (0.07, 0.02), "seconds that a beat may be off: 0.07 MARBLE's code, 0.02 its paper", "score"),),
        seconds=(29, 31),
    ),
    Task(
        name="EMO",
        title="emotion, arousal and valence",
        dataset=emomusic.DATASET,
        kind="values",
        read=emomusic.read,
        counts={"train": 504, "valid": 115, "test": 125},
        metrics=("r2_valence", "r2_arousal"),
        monitor="r2",
        hearing=EMO_HEARINGS["30s"],
        head=HeadSettings(epochs=100, patience=20, plateau=5),
        choices=(
            "Windows of 5 s of the first 30 s (MARBLE v1's config); its paper speaks of all 45 s, v2 takes slices of 15 s.",
            "Values are those of the excerpt as a whole, normalised by mean and deviation of train and valid together.",
        ),
        options=(
            Option(
                "heard",
                ("30s", "45s", "slices"),
                "5 s windows of the first 30 s (v1's config) or of all 45 s (paper), or slices of 15 s (v2)",
                "hearing",
                EMO_HEARINGS,
            ),
        ),
        seconds=(44, 46.5),
    ),
    Task(
        name="NSynthI",
        title="instrument of a note, 11 families",
        dataset=nsynth.DATASET,
        kind="classes",
        read=nsynth.read_instrument,
        counts={"train": 289205, "valid": 12678, "test": 4096},
        metrics=("accuracy",),
        monitor="accuracy",
        head=NOTE_HEAD,
        choices=("All 11 families are outputs, though no test note is a synth_lead.",),
        seconds=(3.9, 4.1),
    ),
    Task(
        name="NSynthP",
        title="pitch of a note, 128 MIDI pitches",
        dataset=nsynth.DATASET,
        kind="classes",
        read=nsynth.read_pitch,
        counts={"train": 289205, "valid": 12678, "test": 4096},
        metrics=("accuracy",),
        monitor="accuracy",
        head=NOTE_HEAD,
        choices=("Class p is MIDI pitch p; MARBLE's code has pitch - 1 among as many outputs, the same but for its name.",),
        seconds=(3.9, 4.1),
    ),
    Task(
        name="VocalSetS",
        title="singer, 20 classes",
        dataset=vocalset.DATASET,
        kind="classes",
        read=vocalset.read_singer,
        counts={},
        metrics=("accuracy",),
        monitor="accuracy",
        hearing=Hearing(window_s=5),
        head=HeadSettings(epochs=100, patience=20, plateau=5),
        choices=("Scored per chunk, as published, not per recording.", *VOCALSET_CHOICES),
        options=VOCALSET_OPTIONS,
        seconds=(0.5, 120),
    ),
    Task(
        name="VocalSetT",
        title="vocal technique, 10 classes",
        dataset=vocalset.DATASET,
        kind="classes",
        read=vocalset.read_technique,
        counts={},
        metrics=("accuracy",),
        monitor="accuracy",
        hearing=Hearing(window_s=5),
        head=HeadSettings(epochs=100, patience=10, plateau=5),
        choices=(
            "Train and valid share singers and are told apart by recording (MARBLE's code); its paper says 9 and 6 singers.",
            "Scored per chunk, as published, not per recording.",
            *VOCALSET_CHOICES,
        ),
        options=(
            *VOCALSET_OPTIONS,
            Option("validation", ("recording", "singer"), "valid is told apart by recording (MARBLE's code) or singer (paper)", "data"),
        ),
        seconds=(0.5, 120),
    ),
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
    Task(
        name="MUSDB18",
        title="source separation, 4 stems",
        dataset=musdb18.DATASET,
        kind="stems",
        read=musdb18.read,
        counts={"train": 86, "valid": 14, "test": 50},
        metrics=("sdr_vocals", "sdr_drums", "sdr_bass", "sdr_other"),
        monitor="sdr",
        hearing=Hearing(window_s=6),
        head=HeadSettings(epochs=50, patience=5, plateau=2, batch=32, dropout=0.4),
        choices=(
            *SEPARATION_CHOICES,
            "SDR is of the whole song, over channels and time (MDX 2021), and the score the mean over songs.",
            "Validation songs are the 14 that the musdb package names, unless there is a folder valid/.",
        ),
        options=(Option("bidirectional", (False, True), "of the LSTM: forward only (MARBLE's code) or both ways (its paper)", "head"),),
        seconds=(5, 900),
    ),
]

#: By name, in the order of the table.
TASKS: Dict[str, Task] = {task.name: task for task in _ROWS}


def task_named(name: str) -> Task:
    """The row of a name, in any case; raises MertError if there is none."""
    found = {known.lower(): task for known, task in TASKS.items()}.get(name.lower())
    if found is None:
        raise MertError(f"task {name!r}: one of {', '.join(TASKS)} wanted; `mert probe --list` tells about them")
    return found
