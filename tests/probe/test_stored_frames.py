"""Frames in 8 bits a value: what is kept exactly, and how much is lost."""

import numpy as np
import pytest

from mert_fairseq.probe.stored_frames import StoredFrames, decode, encode, num_rows


def test_values_on_the_steps_are_kept_exactly():
    """A range of 255 has steps of 1; what never changes has none. Three blocks, of 248, 248 and 4 frames."""
    first = np.array([*range(247), 255])
    frames = np.stack([np.concatenate([first, 2 * first - 9, [0, 255, 3, 200]]), np.full(500, -7.25)], 1)
    rows = encode(frames)
    assert rows.dtype == np.uint8 and rows.shape == (num_rows(500), 2) == (500 + 3 * 8, 2)
    assert np.array_equal(decode(rows, np.arange(500)), frames)
    assert decode(rows, np.array([499, 247, 3, 248])).tolist() == [[200, -7.25], [255, -7.25], [3, -7.25], [-9, -7.25]]


def test_a_frame_far_from_all_others_costs_its_block_alone():
    frames = np.random.default_rng(0).standard_normal((1000, 1))
    frames[300] = 1e4
    error = np.abs(decode(encode(frames), np.arange(1000)) - frames)[:, 0]
    assert error[:248].max() < 0.02 and error[496:].max() < 0.02 and error[248:496].max() > 1


@pytest.mark.parametrize("num_frames", [1, 248, 249, 2250])
def test_what_is_lost_is_half_a_step(num_frames):
    random = np.random.default_rng(0)
    frames = random.standard_normal((num_frames, 5)) * [1e-6, 1, 50, 1e5, 1] + [0, 3, -1e3, 0, 1e-3]
    error = np.abs(decode(encode(frames), np.arange(num_frames)) - frames)
    assert (error <= np.ptp(frames, 0) / 255 * 0.51 + 1e-6 * np.abs(frames).max(0)).all()
    assert StoredFrames(0, {0: encode(frames)}).num_frames == num_frames
    if num_frames > 1:
        assert (error.std(0) < 0.01 * frames.std(0)).all()
