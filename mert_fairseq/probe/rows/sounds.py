"""Single sounds: notes of instruments, and voices with their techniques."""

from typing import Tuple

from mert_fairseq.probe.datasets import nsynth, vocalset
from mert_fairseq.probe.datasets.vocalset import TEST_SINGERS
from mert_fairseq.probe.task import HeadSettings, Hearing, Option, Task

NOTE_COUNTS = {"train": 289205, "valid": 12678, "test": 4096}
NOTE_HEAD = HeadSettings(epochs=50, patience=10, plateau=3)
VOCALSET_OPTIONS = (
    Option("remainder", ("drop", "keep"), "what is left behind the last whole 3 s; MARBLE's script drops it unless told", "data"),
    Option("leading_silence", ("cut", "keep"), "before the voice; MARBLE cuts it by a voice activity detector", "data"),
)
VOCALSET_CHOICES = (
    "Scored per chunk, as published, not per recording; chunks of one recording are drawn together for the interval.",
    "Chunks are 132,000 samples at 44.1 kHz (2.993 s) as MARBLE's code cuts them, not 3 s as its paper says.",
    "Chunks are heard as loud as they are; MARBLE standardises each.",
    "No source tells the number of chunks, so counts are not checked.",
)
SINGER_SPLITS = (
    "by the recording's place in its technique: one fifth is test, of the others two fifths are valid, drawn with a fixed seed;\n"
    "or as MARBLE's {train,valid,test}_s.txt say, where they are"
)
TECHNIQUE_SPLITS = (
    f"test is what {', '.join(TEST_SINGERS)} sing; of the others' places in a technique two fifths are valid, of a fixed seed;\n"
    "or as MARBLE's {train,valid,test}_t.txt say, where they are"
)

ROWS: Tuple[Task, ...] = (
    Task(
        name="NSynthI",
        title="instrument of a note, 11 families",
        dataset=nsynth.DATASET,
        kind="classes",
        read=nsynth.read_instrument,
        counts=NOTE_COUNTS,
        metrics=("accuracy",),
        monitor="accuracy",
        head=NOTE_HEAD,
        choices=("All 11 families are outputs, though no test note is a synth_lead.",),
        untested=("synth_lead",),
        seconds=(3.9, 4.1),
    ),
    Task(
        name="NSynthP",
        title="pitch of a note, 128 MIDI pitches",
        dataset=nsynth.DATASET,
        kind="classes",
        read=nsynth.read_pitch,
        counts=NOTE_COUNTS,
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
        choices=VOCALSET_CHOICES,
        options=VOCALSET_OPTIONS,
        splits=SINGER_SPLITS,
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
            *VOCALSET_CHOICES,
        ),
        options=(
            *VOCALSET_OPTIONS,
            Option("validation", ("recording", "singer"), "valid is told apart by recording (MARBLE's code) or singer (paper)", "data"),
        ),
        splits=TECHNIQUE_SPLITS,
        seconds=(0.5, 120),
    ),
)
