"""The frames of an MP3: whether a header gives their number, whether they follow on from one another, and whether all are there.

A frame's length follows from its header. Where a header is damaged the decoder looks for the next one and leaves the frame out: what
follows comes 26 ms too early, and only whoever reads to the end finds samples missing. So it is where whole frames are gone, which the
number of bytes in a Xing/Info header tells.
"""

import functools
import mmap
import os
import re
import struct
from typing import BinaryIO, List, NamedTuple, Optional, Tuple, Union

RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}  # Hz, by version: MPEG 1, 2, 2.5
KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # per second, of layer III
KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
LAYER_III = 1
HEADER_FRAME = 274  # bytes, within which a Xing/Info header's numbers lie
TAGS = (b"TAG", b"APE", b"LYR", b"ID3")  # behind the audio


class Promise(NamedTuple):
    """What a Xing/Info frame says of the whole; None where it does not. It counts its own bytes, but itself as a frame only with some."""

    num_frames: Optional[int] = None
    num_bytes: Optional[int] = None


class Chain(NamedTuple):
    """The frames that follow one another from the first on."""

    num_samples: int
    complete: bool  # they do to the end, or to the tags there
    fewer: bool = False  # than the header says, though complete


def header_has_length(path: Union[str, "os.PathLike[str]"]) -> bool:
    """Whether the first frame is a Xing/Info frame that gives the number of frames."""
    with open(path, "rb") as handle:
        handle.seek(_first_frame(handle))
        return _promise(handle.read(HEADER_FRAME)).num_frames is not None


def _promise(frame: bytes) -> Promise:
    """Of a file's first bytes of audio."""
    match = re.search(rb"(?:Xing|Info)...(.)(.{8})", frame, re.DOTALL)
    if not match:
        return Promise()
    flags, (first, second) = match[1][0], struct.unpack(">II", match[2])
    return Promise(first if flags & 1 else None, (second if flags & 1 else first) if flags & 2 else None)


def chain_of(path: Union[str, "os.PathLike[str]"]) -> Chain:
    """How far frame follows frame; not at all where a frame's header does not tell its length."""
    status = os.stat(path)
    return _chain_of(path, status.st_size, status.st_mtime_ns)


def samples_per_frame(rate: int) -> int:
    """Of layer III at a rate in Hz."""
    return 1152 if rate in RATES[3] else 576


@functools.lru_cache(maxsize=4096)
def _chain_of(path: Union[str, "os.PathLike[str]"], num_bytes: int, mtime_ns: int) -> Chain:
    """Of a file in that state: its windows are read one by one."""
    with open(path, "rb") as handle:
        place = _first_frame(handle)
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if place + 4 > len(text):
                return Chain(0, False)
            kind = text[place + 1] & 0xFE  # version and layer; the last bit says whether there is a checksum
            rates, third = RATES.get(kind >> 3 & 3), text[place + 2]
            lengths = _lengths(kind, third)
            if not lengths:
                return Chain(0, False)
            num_frames, end, complete = _follow(text, place, kind, lengths)
            said = _promise(text[place : place + HEADER_FRAME])
            fewer = complete and (num_frames < (said.num_frames or 0) or end - place < (said.num_bytes or 0))
            return Chain(num_frames * samples_per_frame(rates[third >> 2 & 3]), complete, fewer)


def _follow(text: mmap.mmap, place: int, kind: int, lengths: List[int]) -> Tuple[int, int, bool]:
    """Frames that follow one another from `place` on, the byte behind them, and whether all do."""
    end, done = len(text), 0
    while place + 4 <= end:
        length = lengths[text[place + 2]]
        if text[place] != 0xFF or text[place + 1] & 0xFE != kind or not length:
            return done, place, text[place : place + 3] in TAGS
        place += length
        done += 1
    return done, place, True


def _lengths(kind: int, third: int) -> List[int]:
    """Bytes of a frame by the third byte of its header, 0 for one of another rate; [] where no length follows from it.

    Args:
        kind: second byte of the first frame's header.
        third: third byte of it, whose rate the others must have.
    """
    version, layer, rate = kind >> 3 & 3, kind >> 1 & 3, third >> 2 & 3
    if version not in RATES or layer != LAYER_III or rate == 3:
        return []
    kbits, per_frame = (KBITS_1, 144_000) if version == 3 else (KBITS_2, 72_000)
    lengths = [0] * 256
    for number, kbit in enumerate(kbits):
        for padding in (0, 1):
            for private in (0, 1):
                if kbit:
                    lengths[number << 4 | rate << 2 | padding << 1 | private] = per_frame * kbit // RATES[version][rate] + padding
    return lengths


def _first_frame(handle: BinaryIO) -> int:
    """Where the audio begins, behind the tags."""
    place = 0
    head = handle.read(10)
    while head[:3] == b"ID3" and len(head) == 10:  # their size has 7 bits to the byte
        place += 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))
        handle.seek(place)
        head = handle.read(10)
    return place
