"""A dozen made-up items of each dataset in its real layout: real file names, real annotation formats, short made-up audio.

    data = build("GTZANBT", tmp_path)        # the folder to give as --data
"""

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Dict

import song_miniatures
import sound_miniatures
import tagging_miniatures

_SCRATCH = tempfile.TemporaryDirectory(prefix="miniatures-")  # goes with the process


def build(task: str, folder: Path) -> Path:
    """Writes the miniature of a task's dataset below `folder` and returns its data folder."""
    return Path(shutil.copytree(_made(BUILDERS[task]), folder / task))


@functools.cache
def _made(builder: Callable[[Path], None]) -> Path:
    """A folder that a builder has written to, once per process: audio takes longest."""
    data = Path(tempfile.mkdtemp(dir=_SCRATCH.name))
    builder(data)
    return data


def named(found):
    """Items by name."""
    return {item.name: item for item in found.items}


BUILDERS: Dict[str, Callable[[Path], None]] = {
    "MTT": tagging_miniatures.magnatagatune,
    "GS": song_miniatures.giantsteps,
    "GTZAN": song_miniatures.gtzan,
    "GTZANBT": song_miniatures.gtzan_rhythm,
    "EMO": song_miniatures.emomusic,
    "NSynthI": sound_miniatures.nsynth,
    "NSynthP": sound_miniatures.nsynth,
    "VocalSetS": sound_miniatures.vocalset,
    "VocalSetT": sound_miniatures.vocalset,
    "MTGInstrument": tagging_miniatures.mtg("instrument"),
    "MTGMood": tagging_miniatures.mtg("moodtheme"),
    "MTGGenre": tagging_miniatures.mtg("genre"),
    "MTGTop50": tagging_miniatures.mtg("top50tags"),
    "MUSDB18": sound_miniatures.musdb18,
}
#: Items of train, valid and test in each miniature.
COUNTS = {
    "MTT": (4, 4, 4),
    "GS": (4, 3, 4),
    "GTZAN": (5, 4, 4),
    "GTZANBT": (5, 4, 4),
    "EMO": (4, 4, 4),
    "NSynthI": (4, 4, 4),
    "NSynthP": (4, 4, 4),
    "MTGInstrument": (4, 4, 4),
    "MTGMood": (4, 4, 4),
    "MTGGenre": (4, 4, 4),
    "MTGTop50": (4, 4, 4),
    "MUSDB18": (2, 2, 2),
}
