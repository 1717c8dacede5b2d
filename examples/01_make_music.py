"""Makes music for the demo: pieces of chords, bass, melody and drums, played by a sampled General MIDI sound font.

    python examples/01_make_music.py OUT_DIR [--pieces 36] [--seconds 60]

Everything follows from the piece's number, so the same command makes the same files.
"""

import argparse
import importlib.util
from pathlib import Path
from typing import Iterator, List, Tuple

import numpy as np
import soundfile
import tinysoundfont

SAMPLE_RATE = 24_000
SCALES = {"major": [0, 2, 4, 5, 7, 9, 11], "minor": [0, 2, 3, 5, 7, 8, 10], "dorian": [0, 2, 3, 5, 7, 9, 10]}
PROGRESSIONS = [[0, 4, 5, 3], [0, 5, 3, 4], [5, 3, 0, 4], [0, 3, 4, 4], [0, 2, 3, 4], [1, 4, 0, 0]]
CHORD_PROGRAMS, LEAD_PROGRAMS, BASS_PROGRAMS = [0, 4, 16, 24, 48, 50, 88], [11, 40, 56, 65, 68, 73, 80], [32, 33, 38, 43]
SECTION_BARS = 4
Note = Tuple[float, float, int, int, int]  # start and length in beats, channel, key, velocity


def compose(rng: np.random.Generator, num_bars: int) -> List[Note]:
    """Four channels over `num_bars` bars of four beats, in sections of four bars that differ in who plays and how loud."""
    tonic, scale = int(rng.integers(45, 57)), SCALES[rng.choice(list(SCALES))]
    progression, has_drums = PROGRESSIONS[rng.integers(len(PROGRESSIONS))], bool(rng.random() < 0.7)
    rhythm = rng.choice([0.5, 1.0], size=8)
    notes: List[Note] = []
    for first_bar in range(0, num_bars, SECTION_BARS):
        playing = rng.random(4) < [0.8, 0.7, 0.7, 0.6 * has_drums]
        section: List[Note] = []
        for bar in range(first_bar, first_bar + SECTION_BARS):
            degree, start = progression[bar % 4], bar * 4.0
            parts = [chords(start, tonic, scale, degree), bass(start, tonic, scale, degree),
                     melody(rng, start, tonic + 12, scale, degree, rhythm), beat(start)]
            section += [note for part, plays in zip(parts, playing) if plays or not playing.any() for note in part]
        rest = float(rng.choice([0, 1, 2]))  # beats of silence before the next section
        notes += phrase(section, float(rng.uniform(0.25, 1.0)), (first_bar + SECTION_BARS) * 4 - rest)
    return notes


def phrase(notes: List[Note], loudness: float, end: float) -> Iterator[Note]:
    """The notes scaled in velocity and cut off at `end` (beats)."""
    for start, length, channel, key, velocity in notes:
        if start < end:
            yield start, min(length, end - start), channel, key, max(1, round(velocity * loudness))


def degree_key(tonic: int, scale: List[int], degree: int) -> int:
    """MIDI key of a scale degree, which may lie beyond the octave."""
    return tonic + 12 * (degree // 7) + scale[degree % 7]


def chords(start: float, tonic: int, scale: List[int], degree: int) -> Iterator[Note]:
    """A triad for the bar."""
    for third in (0, 2, 4):
        yield start, 3.9, 0, degree_key(tonic + 12, scale, degree + third), 90


def bass(start: float, tonic: int, scale: List[int], degree: int) -> Iterator[Note]:
    """The chord's root on every beat."""
    for beat_number in range(4):
        yield start + beat_number, 0.9, 1, degree_key(tonic - 12, scale, degree), 110


def melody(rng, start: float, tonic: int, scale: List[int], degree: int, rhythm) -> Iterator[Note]:
    """Steps around the chord; strong beats take a note of it."""
    position, step = 0.0, degree + 7
    for length in rhythm:
        if position >= 4:
            return
        step = degree + 7 + int(rng.choice([0, 2, 4])) if position % 2 == 0 else step + int(rng.integers(-1, 2))
        yield start + position, float(length) * 0.95, 2, degree_key(tonic, scale, step), 115
        position += float(length)


def beat(start: float) -> Iterator[Note]:
    """Kick on 1 and 3, snare on 2 and 4, closed hat on the halves (General MIDI keys)."""
    for half in range(8):
        yield start + half / 2, 0.2, 9, 42, 75
        if half % 2 == 0:
            yield start + half / 2, 0.2, 9, 36 if half % 4 == 0 else 38, 115


def render(notes: List[Note], programs: List[int], tempo: float, seconds: float) -> np.ndarray:
    """Mono samples of the notes; `tempo` in beats per minute."""
    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE)
    bank = synth.sfload(str(Path(importlib.util.find_spec("pretty_midi").origin).with_name("TimGM6mb.sf2")))
    for channel, program in enumerate(programs):
        synth.program_select(channel, bank, 0, program)
    synth.program_select(9, bank, 128, 0)
    events = [(60 * start / tempo, True, channel, key, velocity) for start, _, channel, key, velocity in notes]
    events += [(60 * (start + length) / tempo, False, channel, key, 0) for start, length, channel, key, _ in notes]
    pieces, now = [], 0
    for time, on, channel, key, velocity in sorted(events):
        sample = min(int(time * SAMPLE_RATE), int(seconds * SAMPLE_RATE))
        if sample > now:
            pieces.append(np.frombuffer(synth.generate(sample - now), dtype=np.float32).reshape(-1, 2).mean(1))
            now = sample
        if on:
            synth.noteon(channel, key, velocity)
        else:
            synth.noteoff(channel, key)
    wave = np.concatenate(pieces)
    return 0.7 * wave / max(1e-6, float(np.abs(wave).max()))


def main() -> None:
    """Writes piece-000.flac, piece-001.flac, ..."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--pieces", type=int, default=36)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    args.out_dir.mkdir(parents=True, exist_ok=True)
    for piece in range(args.pieces):
        rng = np.random.default_rng(piece)
        tempo = float(rng.integers(80, 150))
        notes = compose(rng, num_bars=int(args.seconds * tempo / 60 / 4) + 1)
        programs = [int(rng.choice(choices)) for choices in (CHORD_PROGRAMS, BASS_PROGRAMS, LEAD_PROGRAMS)]
        soundfile.write(args.out_dir / f"piece-{piece:03d}.flac", render(notes, programs, tempo, args.seconds), SAMPLE_RATE)
    print(f"{args.out_dir}: {args.pieces} pieces of {args.seconds:.0f} s")


if __name__ == "__main__":
    main()
