"""A miniature of MUSDB18 in its real layout, and encoders to listen to it with.

Stems are noise of one spectrum, each sounding at times of its own, and each with a faint pilot tone while it sounds: who plays cannot be
told from a mask that stays the same, and an encoder that hears the pilots knows it.
"""

from pathlib import Path
from typing import List, Optional

import numpy as np
import soundfile
import torch
from torch import Tensor

from mert_fairseq.probe.items import Item, TaskData

RATE = 44_100
STEMS = ("vocals", "drums", "bass", "other")
PILOTS = (9_000, 9_750, 10_500, 11_250)  # Hz, of the stems in this order; whole periods in a hop of 320 at 24 kHz
TRACKS = (
    ("train", "train", "A Classic Education - NightOwl"),
    ("train", "train", "ANiMAL - Clinic A"),
    ("train", "train", "Black Bloc - If You Want Success"),
    ("train", "train", "Music Delta - 80s Rock"),
    ("train", "valid", "Actions - One Minute Smile"),
    ("test", "test", "AM Contra - Heart Peripheral"),
    ("test", "test", "PR - Oh No"),
)


def made_stems(seed: int, seconds: float = 3.0) -> np.ndarray:
    """[4, S, 2] at 44.1 kHz; each stem sounds in its own quarter of every second, and now and then beside another."""
    random, num_samples = np.random.default_rng(seed), round(seconds * RATE)
    time_s = np.arange(num_samples) / RATE
    quarters = random.permutation(4)
    stems = []
    for stem, pilot in enumerate(PILOTS):
        sounds = (np.floor(time_s * 4) % 4 == quarters[stem]) | (np.floor(time_s * 4) == random.integers(4 * seconds))
        noise = random.standard_normal((num_samples, 2)) * 0.05 + 0.05 * random.standard_normal((num_samples, 1))
        stems.append((noise + 0.02 * np.sin(2 * np.pi * pilot * time_s)[:, None]) * sounds[:, None])
    return np.stack(stems)


def write_track(folder: Path, stems: np.ndarray, rate: int = RATE) -> None:
    """A track of the WAV release, 16 bit; the mixture is the sum of what was written."""
    folder.mkdir(parents=True)
    steps = np.round(stems * 32_767).astype(np.int16)
    for name, wave in zip(("mixture", *STEMS), [steps.sum(0, dtype=np.int16), *steps]):
        soundfile.write(folder / f"{name}.wav", wave, rate, subtype="PCM_16")


def write_musdb(root: Path) -> TaskData:
    """Seven tracks of three seconds, one of them mono."""
    for number, (folder, _, name) in enumerate(TRACKS):
        stems = made_stems(number)
        write_track(root / folder / name, stems[:, :, :1] if name == "Music Delta - 80s Rock" else stems)
    return musdb_items(root)


def musdb_items(root: Path, suffix: str = "") -> TaskData:
    """Its tracks; suffix ".stem.mp4" for the STEMS release."""
    return TaskData([musdb_item(root / folder / f"{name}{suffix}", split) for folder, split, name in TRACKS], STEMS)


def musdb_item(path: Path, split: str) -> Item:
    """One track."""
    return Item(path.name.removesuffix(".stem.mp4"), path, split, np.zeros(0))


class PilotEncoder:
    """Hears the pilots: [B, T, 4] in its second state, and nothing in its first.

    Attributes:
        heard_s: seconds of audio that it was given so far.
    """

    name, num_layers, dim, shortest, frame_rate, weights_hash = "pilots", 1, 4, 400, 75.0, "pilots"
    device = torch.device("cpu")

    def __init__(self):
        self.heard_s = 0.0

    def hidden_states(self, wave: Tensor, last: Optional[int] = None) -> List[Tensor]:
        """[B, S] -> two states [B, T, 4], T as the published encoder has it."""
        self.heard_s += wave.numel() / 24_000
        frames = wave.unfold(1, 400, 320)[..., :320]
        phase = 2 * np.pi * torch.arange(320)[:, None] / 24_000 * torch.tensor(PILOTS, dtype=torch.float64)
        level = torch.stack([(frames.double() @ phase.cos()), (frames.double() @ phase.sin())]).norm(dim=0).float() / 3
        return [torch.zeros_like(level), level]


class Killed(BaseException):
    """The process ends here."""


def killed_at(what, number, steps=None):
    """A progress that ends the process there; notes every step in `steps`."""

    def progress(name, done, total):
        if steps is not None:
            steps.append((name, done))
        if (name, done) == (what, number):
            raise Killed

    return progress
