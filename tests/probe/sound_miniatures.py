"""Miniatures of NSynth, VocalSet and MUSDB18; each builder writes into a data folder."""

import json
from pathlib import Path

import numpy as np
import soundfile
from miniature_audio import write_audio

FAMILIES = ("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal")


def nsynth(data: Path) -> None:
    for split, offset in (("train", 0), ("valid", 4), ("test", 1)):
        notes = {}
        for place in range(4):
            family = FAMILIES[(3 * (place % 2) + 3) % len(FAMILIES)]  # guitar, organ
            pitch = 40 + 12 * (place // 2)
            name = f"{family}_acoustic_{offset:03d}-{pitch:03d}-{25 * (place + 1):03d}"
            notes[name] = {"note_str": name, "instrument_family_str": family, "instrument_family": 3, "pitch": pitch, "velocity": 50}
            write_audio(data / f"nsynth-{split}" / "audio" / f"{name}.wav", pitch + 3 * (place % 2))
        (data / f"nsynth-{split}" / "examples.json").write_text(json.dumps(notes))


def vocalset(data: Path) -> None:
    """Four singers, two of them of the technique test, five recordings of two techniques each, of 4 and 7 s."""
    for place, (folder, singer) in enumerate([("female1", "f1"), ("male1", "m1"), ("female2", "f2"), ("male3", "m3")]):
        for technique in ("belt", "vibrato"):
            for number, vowel in enumerate("aeiou"):
                path = data / "FULL" / folder / "arpeggios" / technique / f"{singer}_arpeggios_{technique}_{vowel}.wav"
                write_audio(path, 7 * place + 3 * (technique == "belt"), 7 if number % 2 else 4, lead_s=0.5)
    write_audio(data / "FULL" / "male8" / "excerpts" / "straight" / "row_straight.wav", 5, 4, lead_s=0.5)  # a name that is mended: m8_...
    write_audio(data / "FULL" / "female2" / "scales" / "vibrato" / "f2_scales_vibrato_a(1).wav", 5, 4)  # left out


MUSDB18_SONGS = {
    "train": ["A Classic Education - NightOwl", "ANiMAL - Clinic A", "Actions - One Minute Smile", "Triviul - Angelsaint"],
    "test": ["AM Contra - Heart Peripheral", "Al James - Schoolboy Facination"],
}


def musdb18(data: Path) -> None:
    for split, songs in MUSDB18_SONGS.items():
        for place, song in enumerate(songs):
            write_stems(data / split / song, place)


def write_stems(folder: Path, number: int, seconds: float = 7.0, rate: int = 44_100) -> None:
    """Four stereo stems and their sum."""
    folder.mkdir(parents=True)
    time = np.arange(int(seconds * rate)) / rate
    rng = np.random.default_rng(number)
    stems = {
        "vocals": np.sin(2 * np.pi * (300 + 20 * number) * time + 3 * np.sin(2 * np.pi * 5 * time)),
        "drums": rng.standard_normal(len(time)) * (time * 2 % 1 < 0.1),
        "bass": np.sin(2 * np.pi * (55 + 5 * number) * time),
        "other": np.sin(2 * np.pi * (900 + 50 * number) * time) * (time % 2 < 1),
    }
    stems = {name: np.stack([0.2 * wave, 0.15 * wave], axis=1) for name, wave in stems.items()}
    for name, wave in {**stems, "mixture": sum(stems.values())}.items():
        soundfile.write(folder / f"{name}.wav", wave, rate, subtype="PCM_16")
