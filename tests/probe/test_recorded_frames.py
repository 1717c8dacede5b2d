"""Frames are kept in 8 bits a value, of what is asked for alone, and are those that the encoder gives."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from made_up_recordings import WHOLE, Ramp, all_of, hear, write_recordings

from mert_fairseq.data.checked_arrays import HEADER
from mert_fairseq.errors import MertError
from mert_fairseq.probe import frame_features
from mert_fairseq.probe.encoders import open_encoder
from mert_fairseq.probe.frame_features import frames_hash, hear_frames, missing_bytes, recordings_of
from mert_fairseq.probe.items import Item
from mert_fairseq.probe.stored_frames import StoredFrames
from mert_fairseq.probe.task import Hearing


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("music"))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(items, tmp_path, wrong):
    class Broken(Ramp):
        def hidden_states(self, wave, last=None):
            first, *others = super().hidden_states(wave, last)
            return [first, others[0] * wrong, others[1]]

    with pytest.raises(MertError, match="0.wav: hidden state 1: features are not finite"):
        hear(Broken(), items, tmp_path)


def test_frames_are_those_of_the_encoder(items, tmp_path):
    encoder = open_encoder("random:mert_tiny", "cpu")
    part = Item("part", items[0].path, "test", 0, start_s=0.5, stop_s=2.0)
    whole, short, cut = hear(encoder, [*items, part], tmp_path, range(encoder.num_layers + 1))
    assert (whole.num_frames, short.num_frames, cut.num_frames) == (224, 97, 112)
    wave = torch.from_numpy(soundfile.read(items[0].path, dtype="float32", start=12_000, frames=36_000)[0])[None]
    for layer, state in enumerate(encoder.hidden_states(wave)):
        found, wanted = all_of(cut, layer), state[0].numpy()
        assert np.abs(found - wanted).max() <= np.ptp(wanted, 0).max() / 255
    both = whole.layers([0, 2], np.array([5, 7]))
    assert both.shape == (2, 2, encoder.dim) and np.array_equal(both[:, 1], whole.layer(2, np.array([5, 7])))


def test_only_what_is_asked_for_is_heard_and_kept(items, tmp_path):
    encoder = Ramp()
    hear(encoder, items, tmp_path, [1])
    assert [last for _, last in encoder.heard] == [1, 1]  # the encoder may stop there
    assert sorted(path.name for path in tmp_path.rglob("*.array")) == ["1.array"] * 2
    hear(encoder, items, tmp_path, [1])
    assert len(encoder.heard) == 2
    frames = hear(encoder, items, tmp_path, [0, 1, 2])
    assert [last for _, last in encoder.heard[2:]] == [None] * 2
    assert sorted(path.name for path in tmp_path.rglob("*.array")) == [f"{layer}.array" for layer in (0, 0, 1, 1, 2, 2)]
    assert np.allclose(all_of(frames[0], 2), all_of(frames[0], 0) * [3, 1], atol=1e-3)


def test_one_hidden_state_in_memory_is_the_same(items, tmp_path):
    frames = hear(Ramp(), items, tmp_path)[0]
    loaded = frames.loaded(1)
    shutil.rmtree(tmp_path / next(path.name for path in tmp_path.iterdir()))
    assert (loaded.num_layers, loaded.num_frames, loaded.dim) == (2, 225, 2) and np.ptp(all_of(loaded, 1)[:, 0]) > 0


def test_an_item_is_heard_as_a_whole_in_its_window_and_longer_ones_in_several(items, tmp_path):
    encoder = Ramp()
    hear(encoder, items, tmp_path)
    hear(encoder, items, tmp_path, hearing=Hearing(window_s=1.0))  # other windows, other frames
    assert [samples for samples, _ in encoder.heard] == [72_000, 31_200, *[24_000] * 3, *[24_000] * 2]
    hear(encoder, items, tmp_path, hearing=Hearing(window_s=31, first_s=1.0))
    assert [samples for samples, _ in encoder.heard[7:]] == [24_000] * 2


def test_another_frame_rate_has_its_own_number_of_frames(items, tmp_path):
    """50 per second: 150 of 3 s, none of them empty; also where the window is shorter than the recording."""
    for number, hearing in enumerate((WHOLE, Hearing(window_s=1.0))):
        frames = hear(Ramp(hop=480), items, tmp_path / str(number), hearing=hearing)
        assert [own.num_frames for own in frames] == [150, 65]
        assert np.array_equal(all_of(frames[0], 0)[:, 1], np.ones(150))


def test_hearing_that_was_interrupted_goes_on(items, tmp_path):
    encoder = Ramp()

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hear(encoder, items, tmp_path, progress=interrupt)
    told = []
    hear(encoder, items, tmp_path, progress=lambda *at: told.append(at))
    assert len(encoder.heard) == 2 and told == [(1, 1)] and not list(tmp_path.rglob("*.part"))


def test_a_file_that_is_replaced_before_it_is_heard_is_not_kept_as_the_one_before(tmp_path):
    items, encoder = write_recordings(tmp_path), Ramp()
    recordings = recordings_of(encoder, items, WHOLE, [0], tmp_path / "cache", tmp_path)
    soundfile.write(items[1].path, np.full(31_200, 0.25), 24_000)
    with pytest.raises(MertError, match="1.wav: changed while it was read; .*, and give the same command again"):
        hear_frames(encoder, recordings, WHOLE, tmp_path / "cache")
    assert [bool(recording.missing) for recording in recordings] == [False, True]
    assert np.allclose(all_of(hear(encoder, items, tmp_path / "cache", [0])[1], 0)[:, 0], 0.25, atol=1e-3)


def test_the_room_that_is_told_is_what_is_taken(items, tmp_path, monkeypatch):
    encoder = Ramp()
    recordings = recordings_of(encoder, items, WHOLE, [0, 1, 2], tmp_path, items[0].path.parent)
    told = missing_bytes(encoder, recordings)
    monkeypatch.setattr(frame_features.shutil, "disk_usage", lambda _: SimpleNamespace(free=told - 1))
    with pytest.raises(MertError, match="frames take .* give --cache elsewhere, or fewer --layers"):
        hear_frames(encoder, recordings, WHOLE, tmp_path)
    assert encoder.heard == []
    monkeypatch.undo()
    hear_frames(encoder, recordings, WHOLE, tmp_path)
    taken = sum(path.stat().st_size - HEADER for path in tmp_path.rglob("*.array"))
    assert taken == pytest.approx(told, rel=0.01) and missing_bytes(encoder, recordings) == 0


def test_the_hash_is_of_the_audio_and_how_it_is_heard(items, tmp_path):
    def of(chosen, hearing=WHOLE, layers=(0,)):
        return frames_hash(recordings_of(Ramp(), chosen, hearing, layers, tmp_path, items[0].path.parent))

    assert of(items) == of(items, layers=(1, 2)) != of(items[::-1])
    assert of(items) != of(items, Hearing(window_s=1.0))


def test_states_in_memory_are_kept_alike():
    states = np.random.default_rng(0).standard_normal((40, 3, 4))
    frames = StoredFrames.of(states)
    assert (frames.num_frames, frames.num_layers, frames.dim) == (40, 2, 4)
    assert np.abs(frames.layers(range(3), np.arange(40)) - states).max() < 0.02
