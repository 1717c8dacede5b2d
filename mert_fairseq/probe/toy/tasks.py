"""What the made-up clips play, and their labels. No instrument of one split plays in another, so nothing is solved by memory."""

from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np

from mert_fairseq.probe.toy.soundfont import DRUMS, Note

#: General MIDI's families of eight programs that hold a pitch; the others are effects and mixtures.
FAMILIES = {"piano": 0, "mallet": 8, "organ": 16, "guitar": 24, "bass": 32, "strings": 40, "brass": 56, "reed": 64, "pipe": 72}
PLACES = {"train": (0, 2, 3, 5, 6), "valid": (1,), "test": (4, 7)}  # programs of a family that play in a split
KITS = {"train": (8, 16, 32), "valid": (25,), "test": (24, 40, 48)}  # the standard kit, which the demo's music has, plays in none
UNPITCHED = {47}  # timpani
PITCHES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6), "augmented": (0, 4, 8)}
CHORDS = {**TRIADS, "dominant": (0, 4, 10), "fourths": (0, 5, 10)}
TEMPOS = (70, 85, 103, 125, 152)  # beats per minute, each 1.2 times the one before
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
CADENCES = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 1, 4, 0), (0, 3, 0, 4))  # scale degrees of the chords, as a listener hears a key
Clip = Tuple[List[Note], List[int]]  # notes, programs of the channels


@dataclass(frozen=True)
class ToyTask:
    """Attributes: class names; seconds of a clip; what plays a class, given a random generator and the split's programs."""

    classes: Sequence[str]
    seconds: float
    play: Callable[[np.random.Generator, int, Sequence[int]], Clip]


def programs_of(split: str, families: Sequence[str] = tuple(FAMILIES)) -> List[int]:
    """General MIDI programs that play in a split."""
    found = [FAMILIES[family] + place for family in families for place in PLACES[split]]
    return [program for program in found if program not in UNPITCHED]


def play_pitch(rng: np.random.Generator, label: int, programs: Sequence[int]) -> Clip:
    """One note in one of three octaves, struck once or twice."""
    key, program = 48 + label + 12 * int(rng.integers(3)), int(rng.choice(programs))
    times = [0.0, 0.9] if rng.random() < 0.5 else [0.0]
    return [(start, 0.8, 0, key, int(rng.integers(70, 120))) for start in times], [program]


def play_family(rng: np.random.Generator, label: int, programs: Sequence[int]) -> Clip:
    """Four notes of a scale by an instrument of the family."""
    first = list(FAMILIES.values())[label]
    program = int(rng.choice([program for program in programs if first <= program < first + 8]))
    tonic = int(rng.integers(43, 67))
    steps = rng.choice(MAJOR, size=4)
    return [(0.45 * number, 0.42, 0, tonic + int(step), int(rng.integers(80, 120))) for number, step in enumerate(steps)], [program]


def play_key(rng: np.random.Generator, label: int, programs: Sequence[int]) -> Clip:
    """A cadence of four chords over its bass, in a major or minor key; the dominant is major in both."""
    tonic, minor = 48 + label % 12, label >= 12
    scale, notes = MINOR if minor else MAJOR, []
    for number, degree in enumerate(CADENCES[rng.integers(len(CADENCES))]):
        keys = [tonic + scale[(degree + third) % 7] + 12 * ((degree + third) // 7) for third in (0, 2, 4)]
        keys[1] += 1 if minor and degree == 4 else 0
        notes += [(number * 0.95, 0.9, 0, key + 12 * int(rng.integers(2)), int(rng.integers(70, 100))) for key in keys]
        notes.append((number * 0.95, 0.9, 1, keys[0] - 12, 100))
    return notes, [int(rng.choice(programs)), int(rng.choice(programs))]


def play_tempo(rng: np.random.Generator, label: int, programs: Sequence[int]) -> Clip:
    """A beat of the drums with a bass line, a few per cent off the nominal tempo, begun anywhere in the bar."""
    beat_s = 60 / (TEMPOS[label] * rng.uniform(0.97, 1.03))
    start, notes, key = -float(rng.uniform(0, 4)) * beat_s, [], int(rng.integers(36, 48))
    hats = int(rng.choice([1, 2]))  # strokes of the hat per beat
    for beat in range(14):
        time_s = start + beat * beat_s
        notes.append((time_s, 0.1, DRUMS, 38 if beat % 2 else 36, 115))
        notes += [(time_s + part * beat_s / hats, 0.05, DRUMS, 42, 80) for part in range(hats)]
        notes.append((time_s, 0.8 * beat_s, 0, key + int(rng.choice([0, 0, 7, 12])), 100))
    return [note for note in notes if note[0] >= 0], [int(rng.choice(programs))]


def play_chord(rng: np.random.Generator, label: int, programs: Sequence[int]) -> Clip:
    """One chord on any root, its notes in any octave of two, struck together or one after the other."""
    root, spread = int(rng.integers(48, 60)), float(rng.choice([0.0, 0.15]))
    intervals = list(CHORDS.values())[label]
    notes = [(spread * number, 1.7, 0, root + step + 12 * int(rng.integers(2)), 95) for number, step in enumerate(intervals)]
    return [*notes, (0.0, 1.7, 0, root - 12, 95)], [int(rng.choice(programs))]


TOY_TASKS: Dict[str, ToyTask] = {
    "pitch": ToyTask(PITCHES, 2.0, play_pitch),
    "family": ToyTask(tuple(FAMILIES), 2.0, play_family),
    "key": ToyTask(tuple(f"{pitch} {mode}" for mode in ("major", "minor") for pitch in PITCHES), 4.0, play_key),
    "tempo": ToyTask(tuple(str(tempo) for tempo in TEMPOS), 4.0, play_tempo),
    "chord": ToyTask(tuple(CHORDS), 2.0, play_chord),
}
