"""Miniatures of MagnaTagATune and MTG-Jamendo; each builder writes into a data folder."""

from pathlib import Path
from typing import Callable

from miniature_audio import write_audio


def magnatagatune(data: Path) -> None:
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


MTG_TAGS = {
    "instrument": ("instrument", ["piano", "guitar", "drums"]),
    "moodtheme": ("mood/theme", ["happy", "sad", "film"]),
    "genre": ("genre", ["rock", "electronic", "ambient"]),
    "top50tags": ("genre", ["rock", "electronic", "ambient"]),
}


def mtg(tags: str) -> Callable[[Path], None]:
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
