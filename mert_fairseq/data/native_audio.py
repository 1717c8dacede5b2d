"""Exact reads of a file at its own rate: what libsndfile gets wrong about seeking and about lengths is put right here.

Measured with libsndfile 1.2.2 and soundfile 0.14 (`tests/data/test_audio.py` holds it):

- soundfile seeks after every read. For MP3 that restarts the decoder, so a file read in blocks differs from the same file read
  at once, by up to 0.9 of full scale at low bit rates. `ForwardFile` never seeks behind the caller's back.
- An MP3 frame may keep its data up to 511 bytes back ("bit reservoir"). A seek lands on the right sample, but the first frames
  decode wrongly; decoding starts `MP3_PREROLL` earlier, and what comes before the window is thrown away.
- The length of an MP3 without a Xing/Info header is an estimate from the first frames (four times too long, once, for a
  variable bit rate). Such a file is decoded once to count its samples.
- A Vorbis seek into the last Ogg page lands late by as many samples as the encoder trimmed off the end (879 in one of
  41 tracks). Decoding starts before that page.
- Opus in Ogg decodes to slightly other numbers after a seek (4e-3), however far back: it is decoded from its beginning.
- Pages behind the one that ends an Ogg stream are counted but not decoded (one track of 41 has them).
- A WAV or Ogg cut short reports its remaining length as if nothing were missing.
"""

import os
import re
import struct
from typing import Iterator, NamedTuple, Optional, Union

import numpy as np
import soundfile

from mert_fairseq.errors import MertError

PathLike = Union[str, "os.PathLike[str]"]

MP3_PREROLL = 96 * 576  # frames decoded before a window: at 8 kbit/s stereo, a frame of 576 holds 3 bytes of a reservoir of 255
VORBIS_BLOCK = 8192  # samples; the longest block of a Vorbis stream, whose second half needs the block before
OGG_PAGE_BYTES = 65_307  # the longest Ogg page
BLOCK_FRAMES = 1 << 18  # frames decoded at a time, so that memory does not grow with the number of channels
UNKNOWN_FRAMES = 1 << 62  # libsndfile's length of a FLAC whose header leaves it out is 2**63 - 1
STREAMED_BYTES = 0x7FFF_0000  # a WAV header that promises this much or more was written before the length was known


class AudioError(MertError):
    """A file that cannot be read as asked; the message is one line that names it.

    `reason` is one word for counting: unreadable, truncated, non_finite, unknown_length, unsupported_rate.
    """

    def __init__(self, message: str, reason: str = "unreadable"):
        super().__init__(message)
        self.reason = reason


class ForwardFile(soundfile.SoundFile):
    """A sound file whose reads follow on from one another; `seek` moves only when it is called."""

    def seekable(self) -> bool:
        """Tell soundfile not to seek to where it already is after every read."""
        return False


def open_audio(path: PathLike) -> ForwardFile:
    """Open a file for reading. Raises AudioError where it is missing, not a file, or not audio that libsndfile knows."""
    if not os.path.isfile(path):
        kind = "is a folder" if os.path.isdir(path) else "no such file"
        raise AudioError(f"{path}: {kind}; an audio file was expected (were files moved? run `mert manifest` again)")
    try:
        return ForwardFile(path)
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: headerless .raw
        raise AudioError(f"{path}: cannot be opened as audio ({_cause(error)}); allowed are WAV, FLAC, OGG and MP3") from error


def read_native(sound: ForwardFile, start: int, num_frames: int) -> np.ndarray:
    """A window at the file's own rate, mono (mean of the channels): float32 [num_frames], shorter at the file's end.

    `start` and `num_frames` count frames of the file. Raises AudioError where decoding fails.
    """
    pieces = list(native_blocks(sound, start, start + num_frames))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def native_blocks(sound: ForwardFile, start: int = 0, stop: Optional[int] = None) -> Iterator[np.ndarray]:
    """The frames `start` .. `stop` (None: all that follow) as mono float32 blocks [up to BLOCK_FRAMES].

    Ends early at the end of the data. Raises AudioError where decoding fails.
    """
    position = _safe_start(sound, start)
    try:
        if position:
            sound.seek(position)
        while stop is None or position < stop:
            wanted = BLOCK_FRAMES if stop is None else min(BLOCK_FRAMES, stop - position)
            block = sound.read(wanted, dtype="float32", always_2d=True)
            if not len(block):
                return
            kept = block[max(0, start - position) :]
            position += len(block)
            if len(kept):
                yield _mono(kept)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{sound.name}: damaged at or after {position / sound.samplerate:.1f} s ({_cause(error)})") from error


def _mono(frames: np.ndarray) -> np.ndarray:
    """Mean of the channels: float32 [n, channels] -> [n]; column by column, ten times as fast as mean(axis=1) for stereo."""
    wave = frames[:, 0].copy()
    for channel in range(1, frames.shape[1]):
        wave += frames[:, channel]
    return wave / frames.shape[1] if frames.shape[1] > 1 else wave


def native_length(sound: ForwardFile) -> int:
    """Frames of the file: as its header has them, counted by decoding where the header of an MP3 or FLAC does not say.

    Raises AudioError for a file cut short (as far as the container shows it without decoding) or of unknown length.
    """
    if sound.format in ("WAV", "WAVEX"):
        _check_wav(sound)
    elif sound.format == "OGG":
        return _ogg_length(sound)
    elif sound.frames >= UNKNOWN_FRAMES or (sound.format == "MP3" and not _mp3_header_has_length(sound.name)):
        return _count_frames(sound.name)
    return sound.frames


def _safe_start(sound: ForwardFile, start: int) -> int:
    """The frame from which decoding forward gives exact samples at `start`."""
    if sound.format == "MP3":
        return max(0, start - MP3_PREROLL)
    if sound.subtype == "OPUS":
        return 0
    if sound.format == "OGG" and start:
        tail = _ogg_tail(sound.name)
        return max(0, min(start, sound.frames - tail.behind - tail.last_page - VORBIS_BLOCK))
    return start


def _ogg_length(sound: ForwardFile) -> int:
    """Frames up to the page that ends the stream; libsndfile counts pages behind it, but does not decode them."""
    tail = _ogg_tail(sound.name)
    if not tail.complete:
        raise AudioError(f"{sound.name}: cut short: no end-of-stream page, {sound.frames} frames are left", "truncated")
    return sound.frames - (tail.behind if sound.subtype == "VORBIS" else 0)


class _OggTail(NamedTuple):
    last_page: int  # samples that end in the last page of the stream
    behind: int  # samples that pages behind it claim
    complete: bool  # whether that page ends the stream


def _ogg_tail(path: PathLike) -> _OggTail:
    """What the last pages of an Ogg file say of its end."""
    with open(path, "rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - 2 * OGG_PAGE_BYTES))
        text = handle.read()
    places = [match.start() for match in re.finditer(rb"OggS\0", text) if match.start() + 27 <= len(text)]
    pages = [struct.unpack_from("<Bq", text, place + 5) for place in places]
    pages = [(flags, position) for flags, position in pages if position >= 0]  # -1: no packet ends in the page
    complete = [number for number, (flags, _) in enumerate(pages) if flags & 4]
    if not pages:
        return _OggTail(0, 0, False)
    last = complete[0] if complete else len(pages) - 1
    before = pages[last - 1][1] if last else 0
    return _OggTail(pages[last][1] - before, pages[-1][1] - pages[last][1], bool(complete))


def _check_wav(sound: ForwardFile) -> None:
    """Refuse a WAV whose header promises more data than the file has; libsndfile notes it in its log only."""
    match = re.search(r"^data : (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
    if match and int(match[2]) < int(match[1]) < STREAMED_BYTES:
        raise AudioError(f"{sound.name}: cut short: {match[1]} bytes of samples expected, {match[2]} found", "truncated")


def _mp3_header_has_length(path: PathLike) -> bool:
    """Whether the first MPEG frame is a Xing/Info frame that gives the number of frames."""
    with open(path, "rb") as handle:
        head = handle.read(10)
        while head[:3] == b"ID3" and len(head) == 10:  # tags before the audio; their size has 7 bits to the byte
            size = sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))
            handle.seek(size, os.SEEK_CUR)
            head = handle.read(10)
        frame = head + handle.read(256)
    match = re.search(rb"(?:Xing|Info)...(.)", frame, re.DOTALL)
    return bool(match) and bool(match[1][0] & 1)  # flag: the number of frames follows


def _count_frames(path: PathLike) -> int:
    """Decode a file to its end and count its frames; raises AudioError where libsndfile stops at too short an estimate."""
    with open(path, "rb") as handle, ForwardFile(handle) as sound:
        frames = sum(map(len, native_blocks(sound)))
        left = os.path.getsize(path) - handle.tell()
        if frames >= sound.frames and left > 8192:  # more than a last frame and a short tag
            mend = "`ffmpeg -i IN.mp3 -c copy OUT.mp3` writes one"
            raise AudioError(f"{path}: no header with its length, {left} bytes follow the estimate; {mend}", "unknown_length")
    return frames


def _cause(error: Exception) -> str:
    """libsndfile's own words, without the prefix that repeats the file's name."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")
