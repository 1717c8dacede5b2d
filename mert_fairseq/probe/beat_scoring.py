"""Beats as the head learns them and as they are counted."""

from typing import Sequence, Tuple

import numpy as np

from mert_fairseq.errors import MertError
from mert_fairseq.probe.metrics import scoring_libraries

#: Targets of a beat's frame, of its neighbours and of theirs: as MARBLE v1 trains its two-class head, and its other variant.
TARGETS = {"hard": (1.0, 1.0), "soft": (1.0, 0.95, 0.5)}

#: Seconds between a beat and what counts for it. MARBLE's code, both versions; the paper's table 1 says 0.02.
TOLERANCE_S = 0.07


def beat_targets(beats_s: np.ndarray, num_frames: int, frame_rate: float, neighbours: Sequence[float] = TARGETS["hard"]) -> np.ndarray:
    """[T] float32: 1 at the frame nearest to a beat, `neighbours[k]` at k frames from it, the greatest where they meet.

    Args:
        beats_s: seconds from the first frame; those behind the last frame are left out.
        num_frames: T that the encoder gave: audio and annotation may differ by a frame or two, the shorter counts.
        frame_rate: frames per second.
        neighbours: from the beat outwards.
    """
    targets = np.zeros(num_frames, np.float32)
    frames = np.round(np.asarray(beats_s, float) * frame_rate).astype(int)
    for distance, value in enumerate(neighbours):
        for places in (frames - distance, frames + distance):
            places = places[(places >= 0) & (places < num_frames)]
            targets[places] = np.maximum(targets[places], np.float32(value))
    return targets


def count_beats(reference_s: np.ndarray, estimated_s: np.ndarray, tolerance_s: float = TOLERANCE_S) -> Tuple[int, int, int]:
    """(matched, estimated, reference) beats of one recording, each beat matched once at most (mir_eval.util.match_events).

    No seconds at the beginning are left out, as MARBLE does; mir_eval's own beat measure drops five.
    """
    if tolerance_s <= 0:
        raise MertError(f"beat tolerance {tolerance_s} s: more than 0 wanted; published are 0.07 and 0.02")
    if not len(reference_s) or not len(estimated_s):
        return 0, len(estimated_s), len(reference_s)
    mir_eval, _ = scoring_libraries()
    matched = mir_eval.util.match_events(np.sort(reference_s), np.sort(estimated_s), tolerance_s)
    return len(matched), len(estimated_s), len(reference_s)
