"""What the long form of the suite has promised to inject: fault (and its kind) -> at least how often. `make test-faults` fails below."""

from fnmatch import fnmatchcase
from typing import Dict, List, Mapping

IN_ALL = 1000

COMMANDS = ("mert manifest", "mert labels encodec", "mert labels cqt", "mert export", "mert features", "mert probe", "mert probe of beats")
EVERYWHERE = (*COMMANDS, "training")
FORMATS = ("wav", "flac", "ogg", "mp3")

LEAST: Dict[str, int] = {
    **{f"SIGKILL: {what}": 20 for what in (*EVERYWHERE, "checkpoint writing")},
    **{f"full disk: {what}": 1 for what in EVERYWHERE},
    **{f"read-only folder: {what}": 1 for what in EVERYWHERE},
    "vanished file: training": 1,
    **{f"audio: bytes of {suffix} changed, reader": 200 for suffix in FORMATS},
    **{f"audio: {suffix} cut, reader": 1 for suffix in FORMATS},
    **{f"audio: odd files, manifest / {name}.wav": 1 for name in ("empty", "none", "nan", "inf", "one")},
    "audio: hours long / 2 h": 1,
    "shard: npy cut or longer, training start": 1,
    **{f"shard: bit of the {part} flipped, training": 1 for part in ("json", "header", "data")},
    "shard: moved or missing, training start / renamed": 1,
    "shard: of another manifest, training start": 1,
    "shard: index edited, training start": 1,
    **{f"manifest: bad row / {what}": 1 for what in ("duplicate rows", "two tabs", "broken over two rows", "above the root", "absolute")},
    **{f"manifest: bad row / {what}": 1 for what in ("0", "negative", "duplicate rows, CRLF")},
    "manifest: odd and right / unicode": 1,
    "manifest: odd and right / unicode, CRLF": 1,
    **{f"settings: {part}, {kind}": 1 for part in ("task", "model", "criterion") for kind in ("types", "numbers")},
    "settings: unknown keys": 1,
    **{f"clock {clock}: {what}": 1 for clock in ("backwards", "jumping", "stopped") for what in ("commands", "training")},
    "two at once: training": 1,
    "malicious pickle: *": 100,
    "malicious archive: *": 20,
}


def missing(injected: Mapping[str, int], least: Mapping[str, int] = LEAST, in_all: int = IN_ALL) -> List[str]:
    """A line for each fault that was not injected as often as promised.

    Args:
        injected: "fault" or "fault / kind" -> how often.
    """
    lines = []
    for promised, number in least.items():
        found = sum(count for name, count in injected.items() if fnmatchcase(name, promised) or fnmatchcase(name, f"{promised} / *"))
        if found < number:
            lines.append(f"{promised}: promised {number}, injected {found}")
    total = sum(injected.values())
    return lines + ([f"in all: promised {in_all}, injected {total}"] if total < in_all else [])
