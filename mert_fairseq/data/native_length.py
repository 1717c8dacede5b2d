"""How long a sound file is, at its own rate: what its header says, held against what the file can show without being decoded."""

import functools
import math
import os
import re
from typing import Callable, Tuple

from mert_fairseq.data.audio_file import AudioError, ForwardFile, PathLike, decode
from mert_fairseq.data.mpeg_frames import chain_of, header_has_length, samples_per_frame
from mert_fairseq.data.ogg_pages import broken_page, ogg_tail
from mert_fairseq.frames import SAMPLE_RATE

UNKNOWN_FRAMES = 1 << 62  # libsndfile's length of a FLAC whose header leaves it out is 2**63 - 1
STREAMED_BYTES = 0x7FFF_0000  # a WAV header that promises this much or more was written before the length was known
#: An MP3 frame of 1152 has at least 24 bytes; a silent FLAC frame of 65,535 at least 8.
MOST_FRAMES_PER_BYTE = {"MP3": 48, "FLAC": 8192}


def native_length(sound: ForwardFile) -> int:
    """Frames of the file: as its header has them, counted by decoding where the header of an MP3 or FLAC does not say.

    Raises AudioError for a file cut short (as far as the container shows it without decoding) or of unknown length.
    """
    if sound.format in ("WAV", "WAVEX"):
        _check_wav(sound)
    elif sound.format == "OGG":
        return _ogg_length(sound)
    elif not tells_length(sound):
        return _count_frames(sound.name)
    _check_possible(sound)
    return sound.frames


def tells_length(sound: ForwardFile) -> bool:
    """Whether a file's header has its length; else only decoding tells."""
    return sound.frames < UNKNOWN_FRAMES and (sound.format != "MP3" or header_has_length(sound.name))


def as_long_as(sound: ForwardFile, length: int, at_24_khz: Callable[[int], int]) -> bool:
    """Whether a file can have that length, as far as that shows without decoding it.

    Args:
        at_24_khz: frames of the file -> samples.
    """
    if tells_length(sound):
        return at_24_khz(native_length(sound)) == length
    if sound.format != "MP3":
        return True
    chain = chain_of(sound.name)
    if not chain.complete:
        return at_24_khz(native_length(sound)) == length
    step = samples_per_frame(sound.samplerate)  # without a header nothing is trimmed: whole frames are decoded, all but one at the most
    whole = round(length * sound.samplerate / SAMPLE_RATE / step) * step
    return at_24_khz(whole) == length and 0 <= chain.num_samples - whole <= step


def _check_possible(sound: ForwardFile) -> None:
    """Refuse a header that promises more than the file can hold: what is made room for grows with it."""
    num_bytes = os.path.getsize(sound.name)
    if sound.frames > num_bytes * MOST_FRAMES_PER_BYTE.get(sound.format, math.inf):
        raise AudioError(f"{sound.name}: its header promises {sound.frames} frames, which {num_bytes} bytes cannot hold", "truncated")


def _ogg_length(sound: ForwardFile) -> int:
    """Frames up to the page that ends the stream; libsndfile counts pages behind it, but does not decode them."""
    tail = ogg_tail(sound.name)
    if not tail.complete:
        raise AudioError(f"{sound.name}: cut short: no end-of-stream page, {sound.frames} frames are left", "truncated")
    place = broken_page(sound.name, max(0, sound.frames - 1), None)
    if place is not None:
        raise AudioError(f"{sound.name}: damaged: the page of the Ogg stream at byte {place} is broken or missing", "truncated")
    return sound.frames - (tail.behind if sound.subtype == "VORBIS" else 0)


def _check_wav(sound: ForwardFile) -> None:
    """Refuse a WAV whose header promises more data than the file has; libsndfile notes it in its log only."""
    match = re.search(r"^data : (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
    if match and int(match[2]) < int(match[1]) < STREAMED_BYTES:
        raise AudioError(f"{sound.name}: cut short: {match[1]} bytes of samples expected, {match[2]} found", "truncated")


def decoded_length(path: PathLike) -> int:
    """Frames that decoding a file gives; counted once for a file that stays as it is, as its windows are read one by one."""
    return _decoded(path, os.path.getsize(path), os.stat(path).st_mtime_ns)[0]


def _count_frames(path: PathLike) -> int:
    """Decode a file to its end and count its frames; raises AudioError where libsndfile stops at too short an estimate."""
    frames, estimate, left = _decoded(path, os.path.getsize(path), os.stat(path).st_mtime_ns)
    chain = chain_of(path) if estimate < UNKNOWN_FRAMES else None  # of an MP3
    more = chain.num_samples > frames + 2 * 1152 if chain and chain.complete else left > 8192  # more than a last frame and a short tag
    if frames >= estimate and more:
        mend = "`ffmpeg -i IN.mp3 -c copy OUT.mp3` writes one"
        raise AudioError(f"{path}: no header with its length, {left} bytes follow the estimate; {mend}", "unknown_length")
    return frames


@functools.lru_cache(maxsize=4096)
def _decoded(path: PathLike, num_bytes: int, mtime_ns: int) -> Tuple[int, int, int]:
    """(frames decoded, frames as the header or an estimate has them, bytes that follow) of a file in that state."""
    with open(path, "rb") as handle, ForwardFile(handle) as sound:
        frames = sum(map(len, decode(sound)))
        return frames, sound.frames, num_bytes - handle.tell()
