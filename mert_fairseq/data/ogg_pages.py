"""The pages of an Ogg file: where the stream ends, and whether those of a window are whole.

Each page has a checksum, its length, a number in its stream, and that of the last sample that it completes. libsndfile leaves a broken page
out without a word: what follows comes too early, by up to a second, and only whoever reads to the end finds samples missing.
"""

import os
import re
import struct
import zlib
from typing import BinaryIO, Dict, NamedTuple, Optional, Union

PAGE_BYTES = 65_307  # the longest page
HEADER_BYTES = 27
END_OF_STREAM = 4  # flag
#: Ogg's checksum goes through a byte from its other end than zlib's does.
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class OggTail(NamedTuple):
    """What the last pages say of the end."""

    last_page: int  # samples that end in the last page of the stream
    behind: int  # samples that pages behind it claim
    complete: bool  # whether that page ends the stream


def ogg_tail(path: Union[str, "os.PathLike[str]"]) -> OggTail:
    """What the last pages of an Ogg file say of its end."""
    with open(path, "rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - 2 * PAGE_BYTES))
        text = handle.read()
    places = [match.start() for match in re.finditer(rb"OggS\0", text) if match.start() + HEADER_BYTES <= len(text)]
    pages = [struct.unpack_from("<Bq", text, place + 5) for place in places]
    pages = [(flags, position) for flags, position in pages if position >= 0]  # -1: no packet ends in the page
    complete = [number for number, (flags, _) in enumerate(pages) if flags & END_OF_STREAM]
    if not pages:
        return OggTail(0, 0, False)
    last = complete[0] if complete else len(pages) - 1
    before = pages[last - 1][1] if last else 0
    return OggTail(pages[last][1] - before, pages[-1][1] - pages[last][1], bool(complete))


def broken_page(path: Union[str, "os.PathLike[str]"], start: int, stop: Optional[int]) -> Optional[int]:
    """The byte at which the first page should begin that is broken or missing, of those that hold the samples `start` .. `stop`.

    Args:
        stop: None: to the end of the stream.

    Returns:
        None where all are whole.
    """
    with open(path, "rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        place = _page_before(handle, size, start)
        following: Dict[int, int] = {}  # by stream, of which a file may have several in turn
        while place < size:
            page = _whole_page(_read(handle, place, PAGE_BYTES))
            if page is None or following.get(page.stream, page.number) != page.number:
                return place
            following[page.stream] = (page.number + 1) % (1 << 32)
            if page.flags & END_OF_STREAM or (stop is not None and page.position >= stop):
                return None
            place += page.num_bytes
    return None


class _Page(NamedTuple):
    num_bytes: int
    flags: int
    position: int  # samples of the stream up to its end; -1 where no packet ends in it
    stream: int
    number: int  # in its stream


def _page_before(handle: BinaryIO, size: int, sample: int) -> int:
    """Where a whole page begins, not far ahead of the one that holds a sample."""
    low, high = 0, size
    while high - low > 4 * PAGE_BYTES:
        middle = (low + high) // 2
        text = _read(handle, middle, 2 * PAGE_BYTES)
        found = ((match.start(), _whole_page(text[match.start() :])) for match in re.finditer(rb"OggS\0", text))
        offset, page = next(((offset, page) for offset, page in found if page and page.position >= 0), (0, None))
        if page is None or page.position > sample:
            high = middle
        else:
            low = middle + offset
    return low


def _read(handle: BinaryIO, place: int, num_bytes: int) -> bytes:
    handle.seek(place)
    return handle.read(num_bytes)


def _whole_page(text: bytes) -> Optional[_Page]:
    """The page that `text` begins with; None if there is none or its checksum is another."""
    if len(text) < HEADER_BYTES or text[:5] != b"OggS\0":
        return None
    flags, position, stream, number = struct.unpack_from("<BqII", text, 5)
    lengths = text[HEADER_BYTES : HEADER_BYTES + text[26]]
    length = HEADER_BYTES + text[26] + sum(lengths)
    if len(lengths) < text[26] or len(text) < length:
        return None
    said = int.from_bytes(text[22:26].translate(REVERSED), "big")
    content = (text[:22] + bytes(4) + text[26:length]).translate(REVERSED)
    return _Page(length, flags, position, stream, number) if zlib.crc32(content, 0xFFFFFFFF) ^ 0xFFFFFFFF == said else None
