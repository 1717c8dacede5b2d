"""A file in windows of one length: the memory needed does not grow with the file, and no result depends on what else is in a batch.

A window of W samples gives T = W / 320 frames; it is read with the 80 samples more that its last frame sees. The last window of a
longer file ends where the file ends and gives the frames that are not there yet: they too have heard W samples. A file that is
not longer than a window is one window of its own length. So no window is ever padded.
"""

from dataclasses import dataclass
from typing import List

from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP, SAMPLE_RATE, receptive_field

MOST_SECONDS = 3600.0  # of a window: attention over more fits no machine


@dataclass(frozen=True)
class Window:
    """Attributes: start and number of samples to hear; frames of it to leave out at the beginning, and those it adds."""

    start: int
    num_samples: int
    skip: int
    num_frames: int


def window_frames(seconds: float) -> int:
    """T of a window, whole frames; raises MertError under a tenth of a second and over an hour."""
    if not 0.1 <= seconds <= MOST_SECONDS:
        raise MertError(f"a window of {seconds} s: 0.1 to {MOST_SECONDS:g} s allowed, e.g. 30")
    return round(seconds * SAMPLE_RATE / HOP)


def plan_windows(num_samples: int, frames: int, field: int = receptive_field()) -> List[Window]:
    """Windows whose frames, laid end to end, are all those of `num_samples`; [] if there are none.

    Args:
        num_samples: of the file, at 24 kHz.
        frames: T of a window.
        field: samples that a frame sees.
    """
    length = frames * HOP + field - HOP
    total = (num_samples - field) // HOP + 1 if num_samples >= field else 0
    if total <= frames:
        return [Window(0, num_samples, 0, total)] * bool(total)
    whole = [Window(first * HOP, length, 0, frames) for first in range(0, total - frames + 1, frames)]
    left = total - len(whole) * frames
    return whole + [Window((total - frames) * HOP, length, frames - left, left)] * bool(left)
