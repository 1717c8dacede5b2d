"""The tracker finds known beats, and the best path of the whole state space."""

import numpy as np
import pytest

from mert_fairseq.errors import MertError
from mert_fairseq.probe.beat_scoring import TARGETS, beat_targets, count_beats
from mert_fairseq.probe.beat_tracking import BeatTracker

FRAME_RATE = 75.0


def activation(beats_s, seconds, noise=0.02, peak=0.9, seed=0):
    """[T] noise with a peak and two shoulders at each beat."""
    random = np.random.default_rng(seed)
    found = random.uniform(0, noise, round(seconds * FRAME_RATE))
    frames = np.round(np.asarray(beats_s) * FRAME_RATE).astype(int)
    for offset, height in ((0, peak), (-1, peak / 3), (1, peak / 3)):
        places = (frames + offset)[(frames + offset >= 0) & (frames + offset < len(found))]
        found[places] = np.maximum(found[places], height)
    return found


def f_measure(reference_s, estimated_s):
    matched, estimated, reference = count_beats(reference_s, estimated_s)
    return 2 * matched / (estimated + reference)


def track(one):
    (beats,) = BeatTracker().track([one])
    return beats


@pytest.mark.parametrize("bpm", [60, 75, 100, 128, 150, 180, 210])
def test_a_steady_tempo(bpm):
    beats = np.arange(0.25, 12, 60 / bpm)
    assert np.allclose(track(activation(beats, 12)), np.round(beats * FRAME_RATE) / FRAME_RATE)


def test_a_change_of_tempo():
    slow = np.arange(0.3, 8, 60 / 100)
    beats = np.concatenate([slow, slow[-1] + np.arange(60 / 130, 8, 60 / 130)])
    assert f_measure(beats, track(activation(beats, 16))) > 0.97


def test_a_tempo_that_drifts():
    beats = 0.2 + np.cumsum(60 / np.linspace(90, 115, 25))
    assert f_measure(beats, track(activation(beats, beats[-1] + 0.3))) > 0.97


def test_noise_and_beats_that_are_missing():
    beats = np.arange(0.4, 20, 0.5)
    heard = np.delete(beats, np.random.default_rng(1).choice(np.arange(1, len(beats) - 1), len(beats) // 4, replace=False))
    noisy = activation(heard, 20, noise=0.4, peak=0.8)
    assert f_measure(beats, track(noisy)) > 0.95
    assert f_measure(beats, np.flatnonzero(noisy > 0.5) / FRAME_RATE) < 0.9  # without the tracker


def test_weaker_peaks_between_beats_are_no_beats():
    beats = np.arange(0.3, 15, 60 / 95)
    both = np.maximum(activation(beats, 15), activation(beats + 30 / 95, 15, peak=0.3))
    assert np.allclose(track(both), np.round(beats * FRAME_RATE) / FRAME_RATE)


def test_silence_has_no_beats():
    silent, empty, music = np.zeros(500), np.zeros(0), activation(np.arange(0.2, 6, 0.5), 6)
    found = BeatTracker().track([silent, music, empty])
    assert [len(beats) for beats in found] == [0, 12, 0]
    assert BeatTracker().track([]) == []


def test_recordings_of_all_lengths_together_are_as_alone():
    lengths = (7, 0.2, 30, 1.0, 7)
    songs = [activation(np.arange(0.1, seconds, 0.43), seconds, noise=0.5, seed=seed) for seed, seconds in enumerate(lengths)]
    for song, together in zip(songs, BeatTracker().track(songs)):
        assert np.array_equal(together, track(song))


def test_beats_are_those_of_madmom():
    """Recorded from madmom's DBNBeatTrackingProcessor(fps=75), development version of 2025, on the same noise."""
    for seed, recorded in RECORDED.items():
        noise = np.random.default_rng(seed).uniform(0.001, 0.999, 600) ** 3
        assert np.round(track(noise) * FRAME_RATE).astype(int).tolist() == recorded


RECORDED = {
    5: [
        1, 25, 51, 76, 100, 125, 151, 175, 201, 226, 249, 274, 297, 321, 345, 369, 393, 418, 441, 464, 486, 509, 532, 555, 579,
    ],
    6: [36, 81, 124, 171, 215, 260, 306, 349, 400, 449, 498, 550],
}  # fmt: skip


def best_path_beats(tracker, heard):
    """The same by a plain Viterbi pass over all states, one by one."""
    intervals = tracker.intervals()
    states = [(tempo, place) for tempo, interval in enumerate(intervals) for place in range(interval)]
    number = {state: index for index, state in enumerate(states)}
    weights = np.exp(-tracker.transition_lambda * np.abs(intervals[None] / intervals[:, None] - 1))
    weights[weights <= np.spacing(1)] = 0
    with np.errstate(divide="ignore"):
        change = np.log(weights / weights.sum(1, keepdims=True))
    on_beat = np.array([place / intervals[tempo] < 1 / tracker.observation_lambda for tempo, place in states])
    density = np.where(on_beat, np.log(heard)[:, None], np.log((1 - heard) / (tracker.observation_lambda - 1))[:, None])
    scores, origins = density[0].copy(), []
    for frame in range(1, len(heard)):
        origin, reached = np.zeros(len(states), int), np.zeros(len(states))
        for index, (tempo, place) in enumerate(states):
            if place:
                origin[index], reached[index] = index - 1, scores[index - 1]
            else:
                ends = [number[other, intervals[other] - 1] for other in range(len(intervals))]
                paths = scores[ends] + change[:, tempo]
                origin[index], reached[index] = ends[int(paths.argmax())], paths.max()
        scores = reached + density[frame]
        origins.append(origin)
    path = [int(scores.argmax())]
    for origin in origins[::-1]:
        path.append(origin[path[-1]])
    heard_as_beat = on_beat[path[::-1]]
    edges = np.flatnonzero(np.diff(np.r_[False, heard_as_beat, False]))
    return [first + int(heard[first:stop].argmax()) for first, stop in edges.reshape(-1, 2)]


@pytest.mark.parametrize("num_frames", [1, 3, 7, 20, 61])
def test_the_path_is_the_best_of_the_whole_state_space(num_frames):
    tracker = BeatTracker(frame_rate=10.0, min_bpm=50, max_bpm=200, transition_lambda=6.0, observation_lambda=4)
    assert tracker.intervals().tolist() == list(range(3, 13))
    for seed in range(4):
        heard = np.random.default_rng(seed).uniform(0.01, 0.99, num_frames) ** 2
        (found,) = tracker.track([heard])
        assert np.round(found * 10).astype(int).tolist() == best_path_beats(tracker, heard)


def test_intervals_are_those_of_75_frames_per_second():
    intervals = BeatTracker().intervals()
    assert (intervals[0], intervals[-1], len(intervals), intervals.sum()) == (21, 82, 62, 3193)


@pytest.mark.parametrize("wrong", [{"min_bpm": 0}, {"min_bpm": 220}, {"observation_lambda": 1}, {"transition_lambda": -1}])
def test_settings_that_make_no_tempo_are_refused(wrong):
    with pytest.raises(MertError, match="0 < min_bpm <= max_bpm"):
        BeatTracker(**wrong).intervals()


def test_what_is_no_activation_is_refused():
    with pytest.raises(MertError, match="of two frames at least"):
        BeatTracker(frame_rate=5).intervals()
    for wrong in (np.array([0.2, 1.2]), np.array([0.2, np.nan]), np.ones((3, 2))):
        with pytest.raises(MertError, match="0..1 wanted"):
            BeatTracker().track([wrong])


def test_targets_are_beat_frames_and_their_neighbours():
    targets = beat_targets(np.array([0.0, 0.105, 0.26]), 20, 75.0)  # frames 0, 7.9 and 19.5, which rounds to 20, behind the end
    assert np.flatnonzero(targets).tolist() == [0, 1, 7, 8, 9, 19] and set(targets) == {0.0, 1.0}
    soft = beat_targets(np.array([0.04, 0.0667]), 10, 75.0, TARGETS["soft"])  # frames 3 and 5
    assert soft.tolist() == [0, *map(np.float32, (0.5, 0.95, 1, 0.95, 1, 0.95, 0.5)), 0, 0]
    assert not beat_targets(np.array([]), 5, 75.0).any() and len(beat_targets(np.array([9.0]), 0, 75.0)) == 0


def test_beats_are_counted_once_each_within_the_tolerance():
    reference, estimated = np.array([1.0, 2.0, 3.0]), np.array([1.06, 1.9, 3.01, 3.2])
    assert count_beats(reference, estimated) == (2, 4, 3)
    assert count_beats(reference, estimated, tolerance_s=0.02) == (1, 4, 3)
    assert count_beats(np.array([1.0, 1.05]), np.array([1.02])) == (1, 1, 2)
    assert count_beats(np.array([]), estimated) == (0, 4, 0) and count_beats(reference, np.array([])) == (0, 0, 3)
    with pytest.raises(MertError, match="tolerance 0 s"):
        count_beats(reference, estimated, 0)
