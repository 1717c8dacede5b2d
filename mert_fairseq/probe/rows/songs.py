"""What holds of a song as a whole, its key, genre and emotion, and where its beats are."""

from typing import Tuple

from mert_fairseq.probe.beat_scoring import TARGETS
from mert_fairseq.probe.datasets import emomusic, giantsteps, gtzan
from mert_fairseq.probe.task import HeadSettings, Hearing, Option, Task

GTZAN_HEAD = HeadSettings(epochs=100, patience=20, plateau=6)
EMO_HEARINGS = {"30s": Hearing(window_s=5, first_s=30), "45s": Hearing(window_s=5), "slices": Hearing(window_s=15, least_s=12)}

KEY_SPLITS = (
    "test is the key set; train and valid are songs of the MTG set of one key (MANUAL KEY) with C = 2 in annotations.txt:\n"
    "by SHA1 of ARTIST in beatport_metadata.txt 100 of 116 are train, 16 valid"
)
EMOTION_SPLITS = (
    'test: "evaluation" in the column "Mediaeval 2013 set" of songs_info.csv; "development" is train and valid:\n'
    "by SHA1 of the column Artist 8 of 10 are train, 2 valid"
)

ROWS: Tuple[Task, ...] = (
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
        splits=KEY_SPLITS,
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
            "A clip is heard (31 s, as a few are a little over 30 s) and decoded as a whole; MARBLE v2 decodes slices of 10 s.",
            "Of each 10 s crop 150 random frames train a head, not all 750 (MARBLE v1), which are much alike.",
            "Epochs are compared by the average precision of frames, grid points by the F-measure of tracked beats.",
            "Beats behind a clip's end, which a few annotations have, are left out.",
            "Frames are kept in 8 bits a value, of the hidden states that are asked for (--layers): 1.7 GB of each of a 95M model and\n"
            "22 GB of all 13, 2.2 GB of each of a 330M model and 55 GB of all 25.",
        ),
        options=(
            Option("tolerance_s", (0.07, 0.02), "seconds that a beat may be off: 0.07 MARBLE's code, 0.02 its paper", "score"),
            Option("targets", tuple(TARGETS), "of frames beside a beat's: 1 (v1's two classes), or 0.95 and 0.5 (its other way)", "head"),
        ),
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
        splits=EMOTION_SPLITS,
        seconds=(44, 46.5),
    ),
)
