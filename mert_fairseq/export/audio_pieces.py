"""The windows of many files, read while others are computed, and laid together with others of their length."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Iterable, Iterator, List, Optional, Sequence, Union

import numpy as np

from mert_fairseq.data.audio import audio_info, read_audio
from mert_fairseq.data.file_state import FileState, file_state, refuse_changed
from mert_fairseq.errors import MertError
from mert_fairseq.export.windows import Window, plan_windows
from mert_fairseq.frames import SAMPLE_RATE

READ_WINDOWS = 16  # read at once: a compressed file is not decoded from its beginning for every window


@dataclass(frozen=True)
class AudioSegment:
    """Part of a file.

    Attributes:
        start, num_samples: at 24 kHz; None: to the end.
        state: of the file that is meant (`file_state`); None: as it is when its reading begins.
    """

    path: Union[str, "os.PathLike[str]"]
    start: int
    num_samples: Optional[int] = None
    state: Optional[FileState] = None


Audio = Union[str, "os.PathLike[str]", np.ndarray, AudioSegment]


@dataclass
class HeardWindow:
    """One window of one file, or why the file cannot be read.

    Attributes:
        index: of the file.
        plan: all windows of the file.
    """

    index: int
    plan: Sequence[Window] = ()
    window: Optional[Window] = None
    wave: Optional[np.ndarray] = None
    error: Optional[MertError] = None


def heard_windows(audios: Iterable[Audio], frames: int, field: int) -> Iterator[HeardWindow]:
    """All windows of all files, in order; of a file that changes meanwhile an error, not windows of two states.

    Args:
        frames: T of a window.
        field: samples that a frame sees.
    """
    for index, audio in enumerate(audios):
        try:
            audio = _as_it_is(audio)
            plan = _plan(audio, frames, field)
            for first in range(0, len(plan), READ_WINDOWS):
                heard = _read(audio, plan[first : first + READ_WINDOWS])
                if isinstance(audio, AudioSegment):
                    refuse_changed(audio.path, audio.state)
                for window, wave in heard:
                    yield HeardWindow(index, plan, window, wave)
        except MertError as error:
            yield HeardWindow(index, error=error)


def ahead(items: Iterator) -> Iterator:
    """The same items; the next one is made, in a thread, while one is used."""
    end = object()
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = worker.submit(next, items, end)
            yield item


def batches(items: Iterable[HeardWindow], size: int) -> Iterator[List[HeardWindow]]:
    """Up to `size` windows of one length that follow on from one another; what cannot be read comes alone."""
    held: List[HeardWindow] = []
    for item in items:
        if held and (item.error or len(held) == size or len(held[0].wave) != len(item.wave)):
            yield held
            held = []
        held.append(item)
        if item.error:
            yield held
            held = []
    if held:
        yield held


def _as_it_is(audio: Audio) -> Audio:
    """A file as a segment that knows the file's state."""
    if isinstance(audio, (str, os.PathLike)):
        audio = AudioSegment(audio, 0)
    if isinstance(audio, AudioSegment) and audio.state is None:
        return replace(audio, state=file_state(audio.path))
    return audio


def _plan(audio: Audio, frames: int, field: int) -> List[Window]:
    num_samples = _num_samples(audio)
    plan = plan_windows(num_samples, frames, field)
    if not plan:
        name = "the wave" if isinstance(audio, np.ndarray) else getattr(audio, "path", audio)
        shortest = f"{field} samples ({1000 * field / SAMPLE_RATE:.0f} ms)"
        raise MertError(f"{name}: {num_samples} samples at 24 kHz, {1000 * num_samples / SAMPLE_RATE:.0f} ms; at least {shortest} needed")
    return plan


def _num_samples(audio: Audio) -> int:
    if isinstance(audio, np.ndarray):
        if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating) or not np.isfinite(audio).all():
            raise MertError(f"a wave of shape {audio.shape}, {audio.dtype}: [S] of finite floats wanted, mono at 24 kHz, full scale at 1")
        return len(audio)
    if not isinstance(audio, AudioSegment):
        raise MertError(f"audio of type {type(audio).__name__}: a path, a numpy array [S] or an AudioSegment wanted")
    return audio.num_samples if audio.num_samples is not None else max(0, audio_info(audio.path).num_samples - audio.start)


def _read(audio: Union[np.ndarray, AudioSegment], windows: Sequence[Window]):
    """(window, its wave [S]) of windows that follow on from one another."""
    first, stop = windows[0].start, max(window.start + window.num_samples for window in windows)
    if isinstance(audio, np.ndarray):
        wave = np.ascontiguousarray(audio[first:stop], np.float32)
    else:
        wave = read_audio(audio.path, audio.start + first, stop - first)
    return [(window, wave[window.start - first : window.start - first + window.num_samples]) for window in windows]
