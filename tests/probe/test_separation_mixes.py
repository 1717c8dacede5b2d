"""Random mixes: every track serves every stem equally, loudness and sides vary as published, and seed, epoch and number decide."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_stems import RATE, STEMS, made_stems, musdb_item, write_track

from mert_fairseq.probe.separation.mixes import RandomMixes, read_batches
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.tracks import open_track

SETTINGS = SeparationSettings(chunk_s=0.48, samples_per_track=6, batch=5)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Five tracks whose samples tell what they are of: left is (5 stem + track + 1) / 100, right its negative half."""
    folder, found = tmp_path_factory.mktemp("tracks"), []
    for track in range(5):
        level = np.array([(5 * stem + track + 1) / 100 for stem in range(4)])[:, None, None] * np.ones((4, RATE, 1))
        write_track(folder / f"{track}", np.concatenate([level, -level / 2], axis=2))
        found.append(open_track(musdb_item(folder / f"{track}", "train")))
    return found


def test_each_stem_takes_each_track_as_often_and_never_two_of_one_track(tracks):
    choice = RandomMixes(tracks, SETTINGS, epoch=3).choice
    assert choice.shape == (30, 4)
    for column in choice.T:
        np.testing.assert_array_equal(np.bincount(column), [6] * 5)
    assert all(len(set(row)) == 4 for row in choice)
    assert RandomMixes(tracks[:2], SETTINGS, epoch=0).choice.shape == (12, 4)


def test_a_mix_holds_the_chosen_tracks_within_gains_some_with_sides_swapped(tracks):
    mixes = RandomMixes(tracks, SETTINGS, epoch=0)
    gains, swapped = [], []
    for index in range(len(mixes)):
        stems = mixes.mix(index)
        assert stems.shape == (4, 2, 11_520)
        middle = stems[:, :, 6_000].numpy()  # resampling rings at the ends
        for stem, track in enumerate(mixes.choice[index]):
            left, right = middle[stem]
            level = (5 * stem + track + 1) / 100
            swapped.append(left < 0)
            gains.append(max(left, right) / level)
            assert min(left, right) == pytest.approx(-max(left, right) / 2, rel=1e-2)
    assert 0.25 * 0.99 < min(gains) < 0.35 and 1.15 < max(gains) < 1.25 * 1.01
    assert 0.35 < np.mean(swapped) < 0.65


def test_windows_lie_anywhere_in_a_track(tmp_path):
    ramp = np.linspace(0, 0.2, RATE * 2)[None, :, None] * np.ones((4, 1, 2))
    write_track(tmp_path / "a", ramp)
    mixes = RandomMixes([open_track(musdb_item(tmp_path / "a", "train"))], SeparationSettings(chunk_s=0.5, samples_per_track=40), 0)
    places = []
    for index in range(40):
        middle = mixes.mix(index)[:, :, 1_000:11_000].mean(1)
        slope = (middle[:, -1] - middle[:, 0]) / (10_000 / 48_000 * 0.2)  # the gain
        places += ((middle[:, 5_000] / slope) / 0.2).tolist()
    assert min(places) < 0.18 and max(places) > 0.82  # of 0.125 .. 0.875


def test_seed_epoch_and_number_decide(tracks):
    mixes = RandomMixes(tracks, SETTINGS, epoch=1)
    torch.testing.assert_close(mixes.mix(7), RandomMixes(tracks, SETTINGS, epoch=1).mix(7), rtol=0, atol=0)
    for other in (RandomMixes(tracks, SETTINGS, epoch=2), RandomMixes(tracks, replace(SETTINGS, seed=2), epoch=1)):
        assert not np.array_equal(mixes.choice, other.choice)
        assert not torch.equal(mixes.mix(7), other.mix(7))


def test_batches_are_all_mixes_once_in_another_order_each_epoch_whatever_the_threads(tracks):
    mixes = RandomMixes(tracks, SETTINGS, epoch=0)
    first, second = mixes.batches(8, 0), mixes.batches(8, 1)
    assert [len(batch) for batch in first] == [8, 8, 8, 6]
    assert sorted(np.concatenate(first)) == list(range(30)) and not np.array_equal(first[0], second[0])
    one, three = (list(read_batches(mixes, first[1:], workers)) for workers in (1, 3))
    assert len(one) == 3 and all(torch.equal(a, b) for a, b in zip(one, three))
    torch.testing.assert_close(one[0][2], mixes.mix(int(first[1][2])), rtol=0, atol=0)
    assert list(read_batches(mixes, [], 1)) == []


def test_published_size():
    """86 tracks, 6 s: 450 hops, 5,504 mixes of an epoch, 172 updates."""
    settings = SeparationSettings()
    assert settings.chunk_frames == 450 and 86 * settings.samples_per_track / settings.batch == 172


def test_real_stems_stay_apart(tmp_path):
    write_track(tmp_path / "a", made_stems(3))
    mixes = RandomMixes([open_track(musdb_item(tmp_path / "a", "train"))], SeparationSettings(chunk_s=2.0), 0)
    spectrum = torch.fft.rfft(mixes.mix(0).mean(1)).abs()  # bins of half a hertz
    pilots = torch.stack([spectrum[:, 2 * pitch - 4 : 2 * pitch + 5].amax(-1) for pitch in (9_000, 9_750, 10_500, 11_250)])
    assert pilots.argmax(0).tolist() == [0, 1, 2, 3] and len(STEMS) == 4
