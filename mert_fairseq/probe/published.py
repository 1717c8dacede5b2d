"""Published scores on the 14 tasks, with where each was read: figures to hold one's own against, no more exact than their source.

Shares times 100, SDR in dB. A row's tag goes for all its cells but those that name another.
"""

from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple

#: Tasks in the order of the tables, and what a cell holds.
TASKS: Dict[str, Tuple[str, ...]] = {
    "MTT": ("roc_auc", "average_precision"),
    "GS": ("weighted_score",),
    "GTZAN": ("accuracy",),
    "GTZANBT": ("f_measure",),
    "EMO": ("r2_valence", "r2_arousal"),
    "NSynthI": ("accuracy",),
    "NSynthP": ("accuracy",),
    "VocalSetT": ("accuracy",),
    "VocalSetS": ("accuracy",),
    "MTGInstrument": ("roc_auc", "average_precision"),
    "MTGMood": ("roc_auc", "average_precision"),
    "MTGGenre": ("roc_auc", "average_precision"),
    "MTGTop50": ("roc_auc", "average_precision"),
    "MUSDB18": ("sdr_vocals", "sdr_drums", "sdr_bass", "sdr_other"),
}

#: Tag -> what it is and how far it is to be trusted.
SOURCES = {
    "MP": "MARBLE paper, arXiv:2306.10548, tables 3 and 4: read there",
    "MQ": "MuQ paper, tables 1 and 2: read there; MERT's figures in it are copied from the MERT paper",
    "REV": "a third party's review of the MERT paper (ICLR 2024): second-hand",
    "#7": "MARBLE's issue 7, a user quoting the MERT paper: second-hand",
    "RECALL": "MERT paper, from memory: unverified",
    "V2": "model card of MERT-v2-FullSong, reprinting re-runs of the PupuJEPA paper: second-hand",
}


@dataclass(frozen=True)
class PublishedRow:
    """One model's scores.

    Attributes:
        source: tag of the row.
        scores: by task, in the order of TASKS.
        others: tag by task, or of "average", where it is another than the row's.
        average: as printed by the source, over all 14 tasks.
    """

    model: str
    source: str
    scores: Dict[str, Tuple[float, ...]]
    others: Dict[str, str] = field(default_factory=dict)
    average: Optional[float] = None


def _scores(text: str) -> Dict[str, Tuple[float, ...]]:
    """ "90.7/38.2 64.1 - ..." in the order of TASKS; "-" is none."""
    return {task: tuple(map(float, cell.split("/"))) for task, cell in zip(TASKS, text.split()) if cell != "-"}


def _row(model: str, source: str, text: str, average: Optional[float] = None, average_of: str = "", **others: str) -> PublishedRow:
    others |= {"average": average_of} if average_of else {}
    return PublishedRow(model, source, _scores(text), others, average)


#               MTT       GS   GTZAN  BT   EMO V/A   NSI  NSP  VST  VSS  instr.    mood      genre     top50     MUSDB v/d/b/o
ROWS = (
    _row("MusiCNN", "MP", "90.3/37.8 14.4 73.5 - 44.4/68.8 72.6 64.1 70.3 57.0 74.0/17.2 74.0/12.6 86.0/17.5 82.0/27.5 -"),
    _row("CLMR", "MP", "89.5/36.0 14.8 65.2 - 44.4/70.3 67.9 47.0 58.1 49.9 73.5/17.0 73.5/12.6 84.6/16.2 81.3/26.4 -"),
    _row("Jukebox-5B", "MP", "91.4/40.6 63.8 77.9 - 57.0/73.0 70.4 91.6 76.7 82.6 78.5/22.0 77.6/15.3 88.0/20.5 83.7/30.6 -"),
    _row("MULE", "MP", "91.2/40.1 64.9 75.5 - 60.7/73.1 74.6 88.5 75.5 87.5 76.6/19.2 78.0/15.4 88.0/20.4 83.7/30.6 -"),
    _row(
        "Music2Vec", "MP",
        "90.0/36.2 50.6 74.1 68.2 52.1/71.0 69.3 93.1 71.1 81.4 76.1/19.2 76.7/14.3 87.1/18.8 83.0/29.2 5.5/5.5/4.1/3.0", 59.9,
    ),
    _row(
        "MERT-v0-95M", "MP",
        "90.7/38.2 64.1 74.8 88.3 52.9/69.9 70.4 92.3 73.6 77.0 76.6/18.7 75.9/13.7 86.9/18.5 82.8/28.8 5.6/5.6/4.0/3.0", 62.3,
    ),
    _row(
        "MERT-v0-95M-public", "MP",
        "90.7/38.4 67.3 72.8 88.1 59.1/72.8 70.4 92.3 75.6 78.0 77.5/19.6 76.2/13.3 87.2/18.8 83.0/28.9 5.5/5.5/3.7/3.0", 63.0,
    ),
    _row(
        "MERT-v1-95M", "MP",
        "91.0/39.3 63.5 74.8 88.3 55.5/76.3 70.7 92.6 74.2 83.7 77.5/19.4 76.4/13.4 87.1/18.8 83.0/29.0 5.5/5.5/3.8/3.1", 63.3,
    ),
    _row(
        "MERT-v1-330M", "MP",
        "91.1/39.5 61.7 77.6 87.9 59.0/75.8 72.6 94.4 76.9 87.1 78.1/19.8 76.5/14.0 86.7/18.6 83.4/29.9 5.3/5.6/3.6/3.0", 64.2,
    ),
    _row(
        "best of 10 earlier systems", "MP",
        "92.0/41.4 74.3 83.5 80.6 61.7/72.1 78.2 89.2 65.6 80.3 78.8/20.2 78.6/16.1 87.7/20.3 84.3/32.1 9.3/10.8/10.4/6.4", 64.5,
    ),
    _row(
        "MERT-95M K-means, MERT paper", "MP",
        "90.6/38.4 65.0 78.6 88.3 52.9/69.9 71.3 92.3 74.6 77.2 77.2/19.6 75.9/13.7 87.0/18.6 82.8/29.4 5.6/5.6/4.0/3.0", 62.9,
        MTT="RECALL", GS="REV", GTZAN="RECALL", NSynthI="RECALL", VocalSetT="RECALL", VocalSetS="RECALL",
        MTGInstrument="RECALL", MTGMood="RECALL", MTGGenre="RECALL", MTGTop50="RECALL", average_of="REV",
    ),
    _row(
        "MERT-95M-public K-means, MERT paper", "MP",
        "90.7/38.4 67.3 72.8 88.1 59.7/72.5 70.4 92.3 75.6 78.0 77.5/19.6 76.2/13.3 87.2/18.8 83.0/28.9 5.5/5.5/3.7/3.0", 63.0,
        EMO="RECALL",
    ),
    _row(
        "MERT-95M RVQ-VAE, MERT paper", "MP",
        "91.0/39.3 63.5 78.6 88.3 60.0/76.4 70.7 92.6 74.2 83.7 77.5/19.4 76.4/13.4 87.1/18.8 83.0/29.0 5.5/5.5/3.8/3.1", 63.7,
        GTZAN="#7", EMO="RECALL", average_of="REV",
    ),
    _row(
        "MERT-330M RVQ-VAE, MERT paper", "MP",
        "91.3/40.2 65.6 79.3 87.9 61.2/74.7 72.6 94.4 76.9 87.1 78.1/19.8 76.5/14.0 86.7/18.6 83.4/29.9 5.3/5.6/3.6/3.0", 64.7,
        MTT="MQ", GS="MQ", GTZAN="#7", EMO="MQ", NSynthI="MQ", NSynthP="MQ", VocalSetT="MQ", VocalSetS="MQ", average_of="REV",
    ),
    _row("HuBERT base on music, MERT paper", "RECALL", "90.2/37.7 14.7 70.0 88.6 42.1/66.5 69.3 77.4 65.9 75.3 - - - - -"),
    _row("MusicFM (MSD)", "MQ", "91.3/40.0 63.9 83.8 - 60.3/76.3 76.2 91.1 78.4 92.0 - - - - -"),
    _row("MuQ-m4a", "MQ", "91.1/39.0 63.7 84.0 - 60.0/76.0 76.9 91.2 80.8 95.2 - - - - -"),
    _row("MuQ", "MQ", "91.4/40.3 63.5 85.5 - 60.9/75.4 79.2 92.3 82.4 95.8 - - - - -"),
    _row("MuQ-iter", "MQ", "91.4/40.1 65.0 85.6 - 62.8/76.1 79.7 91.3 81.6 96.2 - - - - -"),
    _row("MERT-v1-330M, re-run", "V2", "90.6/37.9 64.1 77.6 86.8 56.7/76.1 - - - - 75.5/18.8 75.3/13.5 86.1/18.0 82.6/29.1 -"),
    _row("MuQ, re-run", "V2", "90.5/38.5 63.2 83.8 90.1 58.3/76.4 - - - - 74.8/19.1 73.7/13.2 85.4/19.1 83.0/30.2 -"),
    _row("MusicFM, re-run", "V2", "90.9/38.3 63.0 84.1 90.2 57.2/74.4 - - - - 74.6/18.5 74.9/14.1 85.3/19.4 81.9/29.7 -"),
    _row("Dasheng-1.2B, re-run", "V2", "91.5/40.4 58.0 81.4 87.7 57.4/75.0 - - - - 75.0/19.0 76.1/15.5 85.5/18.8 82.4/29.6 -"),
    _row("PupuJEPA-Large", "V2", "91.7/40.8 66.1 86.9 91.0 62.5/76.8 - - - - 78.4/21.2 76.2/15.3 86.1/20.1 82.8/30.5 -"),
    _row("MERT-v2-30s", "V2", "91.91/41.29 66.97 91.72 90.59 63.23/80.01 - - - - 80.27/22.89 79.44/16.68 88.01/21.22 84.18/32.17 -"),
    _row("MERT-v2-FullSong", "V2", "91.74/41.20 67.05 90.69 90.57 63.52/78.14 - - - - 80.27/23.51 78.74/15.74 87.98/20.66 84.13/31.62 -"),
)  # fmt: skip
