"""Codes in windows are those of the whole file, whatever is batched with them."""

import numpy as np
import pytest
import torch
from made_music import chords

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.rvqvae import RVQVAE
from mert_fairseq.teachers.windowed_encoding import WindowedEncoder


def whole(teacher: RVQVAE, wave: np.ndarray) -> np.ndarray:
    return teacher.encode(torch.from_numpy(wave)[None])[0].T.numpy()


@pytest.mark.parametrize("seconds", [0.5, 7.99, 8.0, 8.02, 15.0, 31.7])
def test_windows_give_the_codes_of_the_whole_file(teacher, seconds):
    wave = chords(seconds, 2)
    expected, windowed = whole(teacher, wave), WindowedEncoder(teacher).encode_track(wave)
    assert windowed.shape == expected.shape and windowed.dtype == np.uint16
    assert (windowed == expected).mean() >= 0.995
    if seconds <= 8:
        np.testing.assert_array_equal(windowed, expected)  # one window: the pass itself


def test_short_windows_without_context_differ(teacher):
    """The context is needed: this is what the test above would see if it were dropped or misplaced."""
    wave = chords(10, 2)
    bare = WindowedEncoder(teacher, window_frames=8, context_frames=0).encode_track(wave)
    assert (bare == whole(teacher, wave)).mean() < 0.95


@pytest.mark.parametrize("batch_windows", [1, 3, 8])
def test_tracks_come_in_order_and_do_not_depend_on_their_neighbours(teacher, batch_windows):
    waves = [chords(seconds, seed) for seed, seconds in enumerate([36, 1, 50, 0.1, 17, 32, 63])]
    waves[3:3] = [np.zeros(0, np.float32)]  # a damaged file
    encoder = WindowedEncoder(teacher, batch_windows=batch_windows)
    together = list(encoder(iter(waves)))
    assert [codes.shape for codes in together] == [(-(-len(wave) // 320), 3) for wave in waves]
    one_by_one = WindowedEncoder(teacher, batch_windows=1)
    for wave, codes in zip(waves, together):
        np.testing.assert_array_equal(codes, encoder.encode_track(wave))
        assert (codes == one_by_one.encode_track(wave)).mean() > 0.999 if len(wave) else len(codes) == 0
    assert len(np.unique(together[0])) > 10


def test_a_track_is_given_out_before_much_more_is_read(teacher):
    """Memory: a few windows wait for their batch, not the whole corpus."""
    read = []

    def waves():
        for number in range(24):
            read.append(number)
            yield chords(9.5, number)  # one full window and a rest

    codes = WindowedEncoder(teacher, batch_windows=4)(waves())
    next(codes)
    assert len(read) <= 17  # 32 windows and the last


def test_torch_has_as_many_threads_afterwards_as_before(teacher):
    before = torch.get_num_threads()
    list(WindowedEncoder(teacher)([chords(1, 0)]))
    assert torch.get_num_threads() == before


def test_the_mismatch_is_measured_in_10_seconds_behind_the_first_window(teacher, caplog):
    encoder = WindowedEncoder(teacher, window_frames=8, context_frames=0)
    wave = chords(70, 5)
    measured = encoder.mismatch(wave)
    differing = (encoder.encode_track(wave) != whole(teacher, wave))[8:758]
    assert measured == {"frames": 750, "share_of_codes": round(float(differing.mean()), 6)} and measured["share_of_codes"] > 0.05
    assert "differ from a pass over the whole file" in caplog.text
    assert WindowedEncoder(teacher).mismatch(chords(8, 5)) == {"frames": 0, "share_of_codes": 0.0}
    assert WindowedEncoder(teacher).mismatch(wave)["share_of_codes"] < 0.005


def test_bfloat16_is_close_and_another_precision_is_refused(teacher):
    wave = chords(3, 6)
    rough = WindowedEncoder(teacher, "bfloat16").encode_track(wave)
    assert rough.shape == (225, 3) and (rough[:, 0] == whole(teacher, wave)[:, 0]).mean() > 0.6
    with pytest.raises(MertError, match="precision 'float8'; allowed: float32, bfloat16"):
        WindowedEncoder(teacher, "float8")


def test_a_wave_with_nan_is_refused(teacher):
    with pytest.raises(MertError, match="not finite"):
        WindowedEncoder(teacher).encode_track(np.array([0.0, np.nan], dtype=np.float32))
