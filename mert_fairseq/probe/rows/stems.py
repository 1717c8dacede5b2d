"""The stems of a mixture. Every number of its training is `separation.settings`'s."""

from mert_fairseq.probe.datasets import musdb18
from mert_fairseq.probe.separation.settings import CHOICES, OPTIONS, STEMS, SeparationSettings
from mert_fairseq.probe.task import HeadSettings, Hearing, Task

PROTOCOL = SeparationSettings()

MUSDB18 = Task(
    name="MUSDB18",
    title="source separation, 4 stems",
    dataset=musdb18.DATASET,
    kind="stems",
    read=musdb18.read,
    counts={"train": 86, "valid": 14, "test": 50},
    metrics=tuple(f"sdr_{stem}" for stem in STEMS),
    monitor="sdr",
    hearing=Hearing(window_s=PROTOCOL.chunk_s),
    head=HeadSettings(**{name: getattr(PROTOCOL, name) for name in vars(HeadSettings()) if hasattr(PROTOCOL, name)}),
    choices=(
        *CHOICES,
        "SDR is of the whole song, over channels and time (MDX 2021), and the score the mean over songs.",
        "Validation songs are the 14 that the musdb package names, unless there is a folder valid/.",
    ),
    options=OPTIONS,
    seconds=(5, 900),
)
