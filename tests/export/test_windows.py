"""Windows of a file: every frame once, each window of full length, nothing padded."""

import pytest

from mert_fairseq.errors import MertError
from mert_fairseq.export.windows import plan_windows, window_frames
from mert_fairseq.frames import HOP, num_conv_frames

FRAMES = 10


@pytest.mark.parametrize("num_samples", [400, 3_279, 3_280, 3_281, 3_599, 3_600, 3_601, 6_480, 6_799, 6_800, 9_999, 123_457])
def test_frames_are_those_of_the_whole_file_each_once(num_samples):
    plan = plan_windows(num_samples, FRAMES)
    covered = [window.start // HOP + window.skip + frame for window in plan for frame in range(window.num_frames)]
    assert covered == list(range(num_conv_frames(num_samples)))
    for window in plan:
        assert window.start % HOP == 0 and window.start + window.num_samples <= num_samples
        assert num_conv_frames(window.num_samples) == window.skip + window.num_frames
    assert len({window.num_samples for window in plan}) == 1


def test_less_than_a_frame_gives_no_window():
    assert plan_windows(399, FRAMES) == [] and plan_windows(0, FRAMES) == []


def test_window_lengths():
    assert window_frames(30) == 2250
    for seconds in (0.05, float("nan"), float("inf")):
        with pytest.raises(MertError, match="0.1 to 3600 s allowed"):
            window_frames(seconds)
