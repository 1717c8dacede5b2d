"""A dozen made-up items of each dataset in its real layout: real file names, real annotation formats, short made-up audio.

    data = build("GTZANBT", tmp_path)        # the folder to give as --data
"""

import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Dict, List

import numpy as np
import soundfile

RATE = 16_000
_SCRATCH = tempfile.TemporaryDirectory(prefix="miniatures-")  # goes with the process
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
FAMILIES = ("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal")


def build(task: str, folder: Path) -> Path:
    """Writes the miniature of a task's dataset below `folder` and returns its data folder."""
    return Path(shutil.copytree(_made(BUILDERS[task]), folder / task))


@functools.cache
def _made(builder: Callable[[Path], None]) -> Path:
    """A folder that a builder has written to, once per process: audio takes longest."""
    data = Path(tempfile.mkdtemp(dir=_SCRATCH.name))
    builder(data)
    return data


def write_audio(path: Path, number: int, seconds: float = 2.0, lead_s: float = 0.0) -> None:
    """Seconds of a tone whose pitch follows `number`, with its third and some noise; silence before it."""
    time = np.arange(int(seconds * RATE)) / RATE
    tone = 110 * 2 ** (number % 36 / 12)
    wave = 0.3 * np.sin(2 * np.pi * tone * time) + 0.15 * np.sin(2 * np.pi * 3 * tone * time)
    wave += 0.01 * np.random.default_rng(number).standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate([np.zeros(int(lead_s * RATE)), wave]).astype(np.float32), RATE)


def _magnatagatune(data: Path) -> None:
    """12 clips; in each split two have the even ones of 50 tags and two the odd ones. One row is of an empty file."""
    tags = ["no voice", "singer", "duet", "plucking", "hard rock"] + [f"tag {number}" for number in range(5, 188)]
    lines = ["\t".join(f'"{name}"' for name in ["clip_id", *tags, "mp3_path"])]
    folders = "05ab" + "cccc" + "deff"
    for number, folder in enumerate(folders):
        name = f"{folder}/jackalopes-jacksploitation-0{number % 10}-number_{number}-30-59.mp3"
        values = [int(place < 50 and place % 2 == number % 2) for place in range(188)]
        values[2] = values[2] or int(number == 1)  # "duet" is the most frequent
        lines.append("\t".join(f'"{value}"' for value in [number + 2, *values, name]))
        write_audio(data / "mp3" / name, number)
    broken = "6/norine_braun-now_and_zen-08-gently-117-146.mp3"
    lines.append("\t".join(f'"{value}"' for value in [99, *[0] * 188, broken]))
    (data / "mp3" / "6").mkdir()
    (data / "mp3" / broken).write_bytes(b"")
    (data / "annotations_final.csv").write_text("\n".join(lines) + "\n")


def artist(split: str, number: int = 0) -> str:
    """A made-up artist that GiantSteps' rule puts into a split."""
    names = (f"Artist {tried}" for tried in range(10_000))
    return [name for name in names if (int(hashlib.sha1(name.lower().encode()).hexdigest(), 16) % 116 < 100) == (split == "train")][number]


def giantsteps_songs() -> List[tuple]:
    """(number, artists, key, confidence, split or "" where it is not used) of the MTG set."""
    partner = artist("train", 3)  # worked with a valid artist once
    return [
        (5061, artist("train"), "D# minor", 2, "train"),
        (299547, artist("train"), "A major", 2, "train"),
        (1072514, artist("train", 1), "C minor", 2, "train"),
        (1857841, f"{artist('train', 1)}, {artist('train', 2)}", "F# major", 2, "train"),
        (10359, artist("valid"), "D minor", 2, "valid"),
        (11194, f"{artist('valid')}, {partner}", "G major", 2, "valid"),
        (14344, partner, "A# minor", 2, "valid"),
        (62141, artist("train"), "-", 0, ""),
        (16484, artist("train"), "A minor", 1, ""),
        (61578, artist("train"), "C minor / F# minor", 2, ""),
    ]


def _giantsteps(data: Path) -> None:
    mtg = data / "giantsteps-mtg-key-dataset-fd7b8c584f7bd6d720d170c325a6d42c9bf75a6b"
    for folder in (mtg / "annotations", mtg / "md5"):
        folder.mkdir(parents=True)
    songs = giantsteps_songs()
    rows = [f"{number}\t{key}\t{confidence}" for number, _, key, confidence, _ in songs]
    (mtg / "annotations" / "annotations.txt").write_bytes(("\r\n".join(["ID\tMANUAL KEY\tC", *rows]) + "\r\n").encode())
    rows = [f"{number}\t{names}\tSome Song\tOriginal Mix\tLabel\tTechno" for number, names, *_ in songs]
    (mtg / "annotations" / "beatport_metadata.txt").write_text("\n".join(["ID\tARTIST\tSONG TITLE\tMIX\tLABEL\tBP GENRE", *rows]) + "\n")
    for place, (number, *_) in enumerate(songs):
        (mtg / "md5" / f"{number}.LOFI.md5").write_text("7965928cadc84f917f59b3a8506f89e4\n")
        write_audio(mtg / "audio" / f"{number}.LOFI.mp3", place, 4)
    test = data / "giantsteps-key-dataset-c8cb8aad2cb53f165be51ea099d0dc75c64a844f"
    for folder in (test / "annotations" / "key", test / "md5"):
        folder.mkdir(parents=True)
    for place, (number, key) in enumerate([(10089, "D major"), (1004923, "Eb minor"), (3753635, "C minor"), (61415, "A major\n")]):
        (test / "annotations" / "key" / f"{number}.LOFI.key").write_text(key)
        (test / "md5" / f"{number}.LOFI.md5").write_text("3170516454af0da78873bfaee1a5e000\n")
        write_audio(test / "audio" / f"{number:07d}.LOFI.mp3", place, 4)


GTZAN_LISTS = {
    "train": ["blues.00029", "blues.00030", "jazz.00054", "metal.00004", "metal.00005", "rock.00000"],
    "valid": ["blues.00000", "metal.00000", "rock.00010", "rock.00011"],
    "test": ["blues.00012", "blues.00013", "metal.00012", "rock.00020"],
}


def _gtzan(data: Path) -> None:
    for split, names in GTZAN_LISTS.items():
        (data / f"{split}_filtered.txt").write_text("".join(f"{name.split('.')[0]}/{name}.wav\n" for name in names))
        for name in names:
            genre = name.split(".")[0]
            write_audio(data / "genres" / genre / f"{name}.wav", 3 * GENRES.index(genre) + int(name[-1]), 6)
    (data / "genres" / "jazz" / "jazz.00054.wav").write_bytes(b"\0" * 100)  # as the copy on the net: no audio in it


def beat_times(place: int) -> np.ndarray:
    """Seconds of the made-up beats of a clip of 6 s."""
    return np.arange(0.25, 6, 60 / (90 + 10 * (place % 5)))


def _gtzan_rhythm(data: Path) -> None:
    _gtzan(data)
    folder = data / "GTZAN-Rhythm_v2_ismir2015_lbd" / "jams"
    folder.mkdir(parents=True)
    for place, name in enumerate(name for names in GTZAN_LISTS.values() for name in names):
        beats = beat_times(place)
        annotations = [
            {"namespace": "tag_open", "sandbox": {}, "data": [{"time": 0, "duration": 6, "value": "4/4", "confidence": 1}]},
            _jams_beats("beat", [*beats, 6.2]),  # one behind the end, as in a few
            _jams_beats("downbeat", beats[::4]),
        ]
        (folder / f"{name}.wav.jams").write_text(json.dumps({"annotations": annotations, "file_metadata": {"duration": 30}}))


def _jams_beats(kind: str, times) -> Dict:
    data = [{"time": float(time), "duration": 0.0, "value": place + 1, "confidence": None} for place, time in enumerate(times)]
    return {"namespace": "beat", "sandbox": {"annotation_type": kind}, "data": data}


def emomusic_songs() -> List[tuple]:
    """(number, artist, set, arousal, valence); the rule puts "Lead Belly" into train, "Bessie Smith" into valid."""
    songs = []
    for place, number in enumerate([2, 3, 4, 5, 7, 8, 10, 12, 13, 17, 1000, 20]):
        name = ("Lead Belly", "Bessie Smith")[place % 2]
        songs.append((number, name, "evaluation" if place >= 8 else "development", 2.0 + place * 0.5, 7.5 - (place * 5 % 12) * 0.5))
    return songs


def _emomusic(data: Path) -> None:
    header = "song_id,file_name,Artist,Song title,start of the segment (min.sec),end of the segment (min.sec),Genre,Mediaeval 2013 set"
    info, static = [header], ["song_id,mean_arousal,std_arousal,mean_valence,std_valence"]
    for place, (number, name, which, arousal, valence) in enumerate(emomusic_songs()):
        info.append(f'{number},{number}.mp3,"\t{name}","\tSong, number {place}",0.30,1.15,Blues,{which}')
        static.append(f"{number},{arousal},1.5,{valence},1.2")
        write_audio(data / "clips_45seconds" / f"{number}.mp3", 2 * place, 6)
    (data / "songs_info.csv").write_bytes(("\r\n".join(info) + "\r\n").encode())
    (data / "static_annotations.csv").write_bytes(("\r\n".join(static) + "\r\n").encode())


def _nsynth(data: Path) -> None:
    for split, offset in (("train", 0), ("valid", 4), ("test", 1)):
        notes = {}
        for place in range(4):
            family = FAMILIES[(3 * (place % 2) + 3) % len(FAMILIES)]  # guitar, organ
            pitch = 40 + 12 * (place // 2)
            name = f"{family}_acoustic_{offset:03d}-{pitch:03d}-{25 * (place + 1):03d}"
            notes[name] = {"note_str": name, "instrument_family_str": family, "instrument_family": 3, "pitch": pitch, "velocity": 50}
            write_audio(data / f"nsynth-{split}" / "audio" / f"{name}.wav", pitch + 3 * (place % 2))
        (data / f"nsynth-{split}" / "examples.json").write_text(json.dumps(notes))


def _vocalset(data: Path) -> None:
    """Four singers, two of them of the technique test, five recordings of two techniques each, of 4 and 7 s."""
    for place, (folder, singer) in enumerate([("female1", "f1"), ("male1", "m1"), ("female2", "f2"), ("male3", "m3")]):
        for technique in ("belt", "vibrato"):
            for number, vowel in enumerate("aeiou"):
                path = data / "FULL" / folder / "arpeggios" / technique / f"{singer}_arpeggios_{technique}_{vowel}.wav"
                write_audio(path, 7 * place + 3 * (technique == "belt"), 7 if number % 2 else 4, lead_s=0.5)
    write_audio(data / "FULL" / "male8" / "excerpts" / "straight" / "row_straight.wav", 5, 4, lead_s=0.5)  # a name that is mended: m8_...
    write_audio(data / "FULL" / "female2" / "scales" / "vibrato" / "f2_scales_vibrato_a(1).wav", 5, 4)  # left out


MTG_TAGS = {
    "instrument": ("instrument", ["piano", "guitar", "drums"]),
    "moodtheme": ("mood/theme", ["happy", "sad", "film"]),
    "genre": ("genre", ["rock", "electronic", "ambient"]),
    "top50tags": ("genre", ["rock", "electronic", "ambient"]),
}


def _mtg(tags: str) -> Callable[[Path], None]:
    def write(data: Path) -> None:
        kind, names = MTG_TAGS[tags]
        folder = data / "mtg-jamendo-dataset" / "data" / "splits" / "split-0"
        folder.mkdir(parents=True)
        for first, split in ((1376256, "train"), (917540, "validation"), (3340, "test")):
            lines = ["TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"]
            for place in range(4):
                track = first + place
                own = [f"{kind}---{tag}" for tag in ([names[0], names[2]] if place % 2 else [names[1]])]
                path = f"{track % 100:02d}/{track}.mp3"
                lines.append("\t".join([f"track_{track:07d}", "artist_490499", "album_161779", path, "166.0", *own]))
                write_audio(data / "audio-low" / f"{track % 100:02d}" / f"{track}.low.mp3", 5 * (place % 2) + place)
            (folder / f"autotagging_{tags}-{split}.tsv").write_bytes(("\r\n".join(lines) + "\r\n").encode())

    return write


MUSDB18_SONGS = {
    "train": ["A Classic Education - NightOwl", "ANiMAL - Clinic A", "Actions - One Minute Smile", "Triviul - Angelsaint"],
    "test": ["AM Contra - Heart Peripheral", "Al James - Schoolboy Facination"],
}


def _musdb18(data: Path) -> None:
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


BUILDERS: Dict[str, Callable[[Path], None]] = {
    "MTT": _magnatagatune,
    "GS": _giantsteps,
    "GTZAN": _gtzan,
    "GTZANBT": _gtzan_rhythm,
    "EMO": _emomusic,
    "NSynthI": _nsynth,
    "NSynthP": _nsynth,
    "VocalSetS": _vocalset,
    "VocalSetT": _vocalset,
    "MTGInstrument": _mtg("instrument"),
    "MTGMood": _mtg("moodtheme"),
    "MTGGenre": _mtg("genre"),
    "MTGTop50": _mtg("top50tags"),
    "MUSDB18": _musdb18,
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
