"""A sound file as libsndfile opens and decodes it, forward, and the error of all that reads audio."""

import os
from typing import Iterator, Optional, Union

import numpy as np
import soundfile

from mert_fairseq.errors import MertError

PathLike = Union[str, "os.PathLike[str]"]

BLOCK_FRAMES = 1 << 18  # frames decoded at a time, so that memory does not grow with the number of channels


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


def decode(sound: ForwardFile, position: int = 0, stop: Optional[int] = None) -> Iterator[np.ndarray]:
    """The frames `position` .. `stop` (None: all that follow) as float32 blocks [up to BLOCK_FRAMES, channels].

    Ends early at the end of the data. Raises AudioError where decoding fails.
    """
    try:
        if position:
            sound.seek(position)
        while stop is None or position < stop:
            block = sound.read(BLOCK_FRAMES if stop is None else min(BLOCK_FRAMES, stop - position), dtype="float32", always_2d=True)
            if not len(block):
                return
            position += len(block)
            yield block
    except soundfile.SoundFileError as error:
        name = getattr(sound.name, "name", sound.name)  # of a file that was opened before
        mend = "get the file again, a converted copy by the same `mert manifest --convert`"
        raise AudioError(f"{name}: damaged at or after {position / sound.samplerate:.1f} s ({_cause(error)}); {mend}") from error


def _cause(error: Exception) -> str:
    """libsndfile's own words, without the prefix that repeats the file's name."""
    words = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return "not recognised as audio" if words.startswith("File does not exist") else words  # said of broken MP3s, which do exist
