"""Damage: bytes changed at random, and values of a JSON text exchanged for odd ones."""

import json
import random
import re
from typing import Any, List, Tuple

TOKENS = (b"-1", b"0", b"1e999", b"NaN", b"null", b"true", b"[]", b"{}", b'""', b"9" * 30, b"4294967296", b"18446744073709551616", b"1.5")
TOKENS += (b"\x00", b"\xff", b"\n", b"\r\n", b"\t", b"../", b"/", b"(", b"[" * 50, b"\xed\xa0\x80", b"${oc.env:HOME}", b"{}}")
TOKENS += (b"\x80\x02", b"PK")
ODD = (None, True, False, -1, 0, 1, 2**31, 2**63, 10**30, 1.5, float("nan"), float("inf"))
ODD += ("", "x", "../x", "${x}", "\ud800", [], {}, [[]], [1])
MOST_BYTES = 1 << 20
NUMBER = re.compile(rb"\d+")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with one to four changes."""
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(_CHANGES)(data, rng)
    return data[:MOST_BYTES]


def _flip(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[min(stop, start + rng.choice((1, 8, len(data)))) :]


def _double(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:stop] + data[start:stop] * rng.choice((1, 1, 3)) + data[stop:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(TOKENS) + data[place:]


def _number(data: bytes, rng: random.Random) -> bytes:
    found = list(NUMBER.finditer(data[:100_000]))
    if not found:
        return _insert(data, rng)
    start, stop = rng.choice(found).span()
    return data[:start] + rng.choice(TOKENS) + data[stop:]


def _value(data: bytes, rng: random.Random) -> bytes:
    """Where the bytes are JSON (one text, or one a line), a value anywhere in it becomes another."""
    try:
        content = json.loads(data)
        places = list(_places(content))
        holder, key = rng.choice(places)
    except (ValueError, IndexError, RecursionError):
        return _number(data, rng)
    if rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = rng.choice(ODD)
    return json.dumps(content).encode()


def _places(content: Any) -> List[Tuple[Any, Any]]:
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else []
    for key in keys:
        yield content, key
        yield from _places(content[key])


_CHANGES = (_flip, _flip, _cut, _double, _insert, _number, _value, _value)
