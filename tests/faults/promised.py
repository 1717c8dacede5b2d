"""What the long form of the suite has promised to inject: fault (and its kind) -> at least how often. `make test-faults` fails below."""

from collections import Counter
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Mapping

from outcomes import OUTCOMES

IN_ALL = 1000
BAD_BEFORE = "faults/bad"  # in pytest's cache

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
    **{f"kept {what}, *: {kind}": 20 for what in ("work", "frames", "separation") for kind in ("bit flipped", "cut", "noise")},
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


def standing(cache: Any, counts: Mapping[str, Counter], again: bool) -> List[str]:
    """A line for each outcome that must not be, of this run and, where it is what failed run `again`, of those before it.

    What is lost once in a while is lost: a second try does not undo it.

    Args:
        cache: pytest's, which keeps the sums between runs; None where it is switched off.
        counts: of each fault, how often each outcome.
    """
    found = Counter(cache.get(BAD_BEFORE, {}) if again and cache else {}) + sum(counts.values(), Counter())
    bad = {outcome: found[outcome] for outcome in OUTCOMES[2:] if found[outcome]}
    if cache:
        cache.set(BAD_BEFORE, bad)
    return [f"{outcome}: {number}, must be 0" for outcome, number in bad.items()]


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
