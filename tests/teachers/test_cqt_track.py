"""The CQT of a whole track in blocks: that of the whole, on one grid."""

import numpy as np
import pytest
import torch
from test_cqt import SMALL, assert_same, noise, sine

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.cqt import FastCQT, cqt_track


@pytest.mark.parametrize("num_samples", [1, 1000, 64 * 320 - 1, 64 * 320, 100_001])
def test_blocks_of_a_track_equal_the_whole(transform, num_samples):
    track = noise(num_samples) + sine(33.0, num_samples)[0]
    track[num_samples // 2 :] *= 0.01  # blocks of unlike loudness
    whole = transform(track[None])[0]
    blocks = cqt_track(track, transform, block_frames=64)
    assert isinstance(blocks, np.ndarray) and blocks.dtype == np.float32
    assert_same(torch.from_numpy(blocks), whole, 1e-6, 4e-6)


def test_a_track_uses_one_grid_and_may_be_a_mapped_file(tmp_path):
    transform, track = FastCQT(SMALL), noise(60_000).numpy()
    np.save(tmp_path / "track.npy", track)
    mapped = np.load(tmp_path / "track.npy", mmap_mode="r")
    result = cqt_track(mapped, transform, block_frames=50)
    assert len(transform._grids) == 1
    np.testing.assert_array_equal(result, cqt_track(torch.from_numpy(track), transform, block_frames=50))


@pytest.mark.parametrize(
    "wave, message",
    [
        (np.zeros((2, 100), np.float32), "cqt_track takes"),
        (np.zeros(0, np.float32), "cqt_track takes"),
        (np.zeros(100, np.int16), "the CQT takes"),
        (np.array([0.0, np.nan], np.float32), "not finite between 0 and 2"),
    ],
)
def test_refuses_other_tracks(transform, wave, message):
    with pytest.raises(MertError, match=message):
        cqt_track(wave, transform)
