"""Beat times from a beat activation: a hidden Markov model of tempo and place within the beat, decoded exactly.

The model is the bar pointer model of Whiteley, Cemgil and Godsill (ISMIR 2006) with the state space of Krebs, Boeck and Widmer (An
efficient state-space model for joint tempo and meter tracking, ISMIR 2015), for beats alone: a beat of tau frames has tau states that
follow on from one another, and only at its end may tau become another, with probability ~ exp(-transition_lambda |tau'/tau - 1|). In the
first 1/observation_lambda of a beat a frame is heard with its activation a, later with (1 - a) / (observation_lambda - 1). Every state
is equally likely at the first frame.

Since nothing is chosen within a beat, the best path is found over beginnings of beats alone: K tempi per frame instead of the thousands
of states of the usual Viterbi pass, with the same result.
"""

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np

from mert_fairseq.errors import MertError

BATCH_FRAMES = 80_000  # of recordings decoded together, 40 MB
LEAST_TRANSITION = np.spacing(1.0)  # changes of tempo that are less probable are left out, as madmom does
TINY = 1e-7  # activations are kept this far from 0 and 1, whose logarithms are infinite


@dataclass(frozen=True)
class BeatTracker:
    """Settings, by default those of the tracker that MARBLE uses (madmom's DBNBeatTrackingProcessor) at 75 frames per second.

    Attributes:
        frame_rate: of the activations, frames per second.
        min_bpm, max_bpm: slowest and fastest tempo, beats per minute.
        transition_lambda: the greater, the steadier the tempo.
        observation_lambda: a beat's first 1/observation_lambda is where it is heard.
    """

    frame_rate: float = 75.0
    min_bpm: float = 55.0
    max_bpm: float = 215.0
    transition_lambda: float = 100.0
    observation_lambda: int = 16

    def intervals(self) -> np.ndarray:
        """[K] lengths of a beat that are told apart, whole frames. Raises MertError if the range of tempi holds none."""
        if not 0 < self.min_bpm <= self.max_bpm or self.transition_lambda < 0 or self.observation_lambda < 2:
            wanted = "0 < min_bpm <= max_bpm, transition_lambda >= 0, observation_lambda >= 2"
            raise MertError(f"{self}: {wanted} wanted")
        shortest, longest = np.round(60 * self.frame_rate / np.array([self.max_bpm, self.min_bpm])).astype(int)
        if shortest < 2:
            raise MertError(f"max_bpm {self.max_bpm} at {self.frame_rate} frames per second: a beat of two frames at least is wanted")
        return np.arange(shortest, longest + 1)

    def track(self, activations: Sequence[np.ndarray]) -> List[np.ndarray]:
        """Seconds of the beats of each recording.

        Args:
            activations: one [T] per recording, 0..1.

        Raises:
            MertError: a value outside 0..1.
        """
        for activation in activations:
            if np.ndim(activation) != 1 or not ((activation >= 0) & (activation <= 1)).all():
                raise MertError(f"a beat activation of shape {np.shape(activation)}: [T] of 0..1 wanted")
        beats: List[np.ndarray] = [np.empty(0)] * len(activations)
        heard = [place for place, activation in enumerate(activations) if np.any(activation)]  # silence has no beat
        heard.sort(key=lambda place: len(activations[place]))
        while heard:
            together = max(1, BATCH_FRAMES // len(activations[heard[-1]]))
            heard, places = heard[:-together], heard[-together:]
            for place, found in zip(places, _decode([activations[place] for place in places], self)):
                beats[place] = found / self.frame_rate
        return beats


def _decode(activations: List[np.ndarray], tracker: BeatTracker) -> List[np.ndarray]:
    """Frames of the beats of each recording: within each beat's first part the frame with the greatest activation."""
    intervals = tracker.intervals()
    parts = -(-intervals // tracker.observation_lambda)  # frames at which a beat is heard, rounded up
    sums = _Sums(activations, int(intervals[-1]), tracker.observation_lambda)
    ends, origins = _forward(sums, intervals, parts, _transitions(intervals, tracker.transition_lambda))
    found = []
    for row, activation in enumerate(activations):
        start, tempo = _best_end(sums, row, len(activation), ends[row], intervals, parts)
        frames = []
        while start + parts[tempo] > 0:
            first, stop = max(start, 0), min(start + parts[tempo], len(activation))
            frames.append(first + int(np.argmax(activation[first:stop])))
            if start <= 0:
                break
            tempo = origins[row, start, tempo]
            start -= intervals[tempo]
        found.append(np.array(frames[::-1], int))
    return found


def _transitions(intervals: np.ndarray, strength: float) -> np.ndarray:
    """[K, K] log probability that an interval (row) follows another (column); a row is laid out for the search of its best column."""
    probability = np.exp(-strength * np.abs(intervals[:, None] / intervals[None] - 1))
    probability[probability <= LEAST_TRANSITION] = 0
    with np.errstate(divide="ignore"):
        return np.log(probability / probability.sum(0))


class _Sums:
    """Running sums of log densities over frames.

    Attributes:
        margin: frames before the recording at which a beat may begin.
        num_frames: of the longest recording.
        beat, rest: [B, margin + T + 1]; at margin + t is the sum over frames before t, 0 for those before the recording.
    """

    def __init__(self, activations: List[np.ndarray], margin: int, observation_lambda: int):
        self.margin, self.num_frames = margin, max(map(len, activations))
        padded = np.full((len(activations), self.num_frames), 0.5)
        for row, activation in enumerate(activations):
            padded[row, : len(activation)] = activation
        padded = padded.clip(TINY, 1 - TINY)
        self.beat = self._sums(np.log(padded))
        self.rest = self._sums(np.log((1 - padded) / (observation_lambda - 1)))

    def _sums(self, densities: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros((len(densities), self.margin + 1)), np.cumsum(densities, 1)], 1)


def _forward(sums: _Sums, intervals: np.ndarray, parts: np.ndarray, transitions: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Best scores of beginnings of beats, by recording, frame and tempo, and the tempo before each.

    Returns:
        scores [B, margin + T + 1, K], of a beat that begins at frame t - margin, and origins [B, T + 1, K].
    """
    margin, tempi = sums.margin, np.arange(len(intervals))
    scores = np.zeros((len(sums.beat), margin + sums.num_frames + 1, len(intervals)))
    origins = np.zeros((len(sums.beat), sums.num_frames + 1, len(intervals)), np.int16)
    for frame in range(1, sums.num_frames + 1):
        starts = margin + frame - intervals  # of beats that end before this frame
        heard = sums.beat[:, starts + parts] - sums.beat[:, starts] - sums.rest[:, starts + parts]
        ended = scores[:, starts, tempi] + heard  # [B, K], less what all have in common
        paths = ended[:, None, :] + transitions
        origins[:, frame] = best = paths.argmax(-1)
        reached = np.take_along_axis(paths, best[..., None], -1)[..., 0]
        scores[:, margin + frame] = reached + sums.rest[:, [margin + frame]]
    return scores, origins


def _best_end(sums: _Sums, row: int, num_frames: int, scores: np.ndarray, intervals: np.ndarray, parts: np.ndarray) -> Tuple[int, int]:
    """(frame, tempo) at which the last beat of the best path begins; it may be cut off by the end."""
    beat, rest, margin, best = sums.beat[row], sums.rest[row], sums.margin, (-np.inf, 0, 0)
    last = margin + num_frames
    for tempo, (interval, part) in enumerate(zip(intervals, parts)):
        starts = np.arange(last - interval, last)
        turn = np.minimum(starts + part, last)
        ends = scores[starts, tempo] + beat[turn] - beat[starts] + rest[last] - rest[turn]
        place = int(ends.argmax())
        best = max(best, (float(ends[place]), int(starts[place]) - margin, tempo))
    return best[1], best[2]
