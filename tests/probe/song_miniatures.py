"""Miniatures of GiantSteps, GTZAN with its beats, and Emomusic; each builder writes into a data folder."""

import hashlib
import json
from pathlib import Path
from typing import Dict, List

import numpy as np
from miniature_audio import write_audio

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


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


def giantsteps(data: Path) -> None:
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


def gtzan(data: Path) -> None:
    for split, names in GTZAN_LISTS.items():
        (data / f"{split}_filtered.txt").write_text("".join(f"{name.split('.')[0]}/{name}.wav\n" for name in names))
        for name in names:
            genre = name.split(".")[0]
            write_audio(data / "genres" / genre / f"{name}.wav", 3 * GENRES.index(genre) + int(name[-1]), 6)
    (data / "genres" / "jazz" / "jazz.00054.wav").write_bytes(b"\0" * 100)  # as the copy on the net: no audio in it


def beat_times(place: int) -> np.ndarray:
    """Seconds of the made-up beats of a clip of 6 s."""
    return np.arange(0.25, 6, 60 / (90 + 10 * (place % 5)))


def gtzan_rhythm(data: Path) -> None:
    gtzan(data)
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


def emomusic(data: Path) -> None:
    header = "song_id,file_name,Artist,Song title,start of the segment (min.sec),end of the segment (min.sec),Genre,Mediaeval 2013 set"
    info, static = [header], ["song_id,mean_arousal,std_arousal,mean_valence,std_valence"]
    for place, (number, name, which, arousal, valence) in enumerate(emomusic_songs()):
        info.append(f'{number},{number}.mp3,"\t{name}","\tSong, number {place}",0.30,1.15,Blues,{which}')
        static.append(f"{number},{arousal},1.5,{valence},1.2")
        write_audio(data / "clips_45seconds" / f"{number}.mp3", 2 * place, 6)
    (data / "songs_info.csv").write_bytes(("\r\n".join(info) + "\r\n").encode())
    (data / "static_annotations.csv").write_bytes(("\r\n".join(static) + "\r\n").encode())
