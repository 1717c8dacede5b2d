"""How items are cut and heard, and that a window is heard once."""

import os

import numpy as np
import pytest
import soundfile
import torch

from mert_fairseq.data.audio import read_audio
from mert_fairseq.errors import MertError
from mert_fairseq.probe import features
from mert_fairseq.probe.encoders import open_encoder
from mert_fairseq.probe.features import estimate, hear, windows_of
from mert_fairseq.probe.items import Item
from mert_fairseq.probe.task import Hearing

RATE = 24_000


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    for number, seconds in enumerate((3.0, 1.3, 0.4)):
        soundfile.write(folder / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(round(seconds * RATE)), RATE)
    return folder


@pytest.fixture(scope="module")
def encoder():
    return open_encoder("random:mert_tiny", "cpu")


def cut(item: Item, **hearing):
    return [(part.start, part.num_samples) for part in windows_of(item, Hearing(**hearing), 400)]


def test_items_are_cut_without_overlap_and_short_rests_left_out(music):
    whole = Item("0", music / "0.wav", "test", 0)
    assert cut(whole, window_s=1.3, least_s=0.5) == [(0, 31_200), (31_200, 31_200)]
    assert cut(whole, window_s=1.3, least_s=0.3) == [(0, 31_200), (31_200, 31_200), (62_400, 9_600)]
    assert cut(whole, window_s=30) == [(0, 72_000)]
    assert cut(whole, window_s=1, first_s=2) == [(0, 24_000), (24_000, 24_000)]
    assert cut(Item("2", music / "2.wav", "test", 0), window_s=30, least_s=1) == [(0, 9_600)]  # all there is
    assert cut(Item("p", music / "0.wav", "test", 0, 0.5, 2.5), window_s=1.5, least_s=0.5) == [(12_000, 36_000), (48_000, 12_000)]


def test_item_shorter_than_a_frame_is_named(music):
    with pytest.raises(MertError, match="2.wav: late has 0 samples, 400 needed"):
        cut(Item("late", music / "2.wav", "test", 0, start_s=0.5))


def test_windows_have_the_means_of_what_the_encoder_hears(music, encoder, tmp_path):
    items = [Item("0", music / "0.wav", "train", 0), Item("1", music / "1.wav", "test", 1)]
    heard = hear(encoder, items, Hearing(window_s=1.0, least_s=0.2), tmp_path, music)
    assert heard.owner.tolist() == [0, 0, 0, 1, 1] and heard.array().shape == (5, encoder.num_layers + 1, encoder.dim)
    part = torch.from_numpy(read_audio(music / "1.wav", 24_000, 7_200))[None]
    expected = [state[0].mean(0).numpy() for state in encoder.hidden_states(part)]
    np.testing.assert_allclose(heard.array()[4], expected, atol=1e-5)


def test_window_is_heard_once_for_all_tasks_and_runs(music, encoder, tmp_path, monkeypatch):
    first = [Item("0", music / "0.wav", "train", 0)]
    hear(encoder, first, Hearing(window_s=1.0), tmp_path, music)
    heard = []
    extract_all = features.extract_all

    def counted(model, audios, *rest):
        audios = list(audios)
        heard.extend(audios)
        return extract_all(model, audios, *rest)

    monkeypatch.setattr(features, "extract_all", counted)
    both = [Item("other name", music / "1.wav", "test", 3), Item("0", music / "0.wav", "test", 1)]
    assert estimate(encoder, both, Hearing(window_s=1.0), tmp_path, music).windows == 1
    heard.clear()
    hear(encoder, both, Hearing(window_s=1.0), tmp_path, music)
    assert [segment.path.name for segment in heard] == ["1.wav"]
    hear(encoder, both, Hearing(window_s=1.0), tmp_path, music)
    assert len(heard) == 1


def test_extraction_that_was_interrupted_goes_on(music, encoder, tmp_path, monkeypatch):
    items = [Item(str(number), music / f"{number}.wav", "train", 0) for number in range(3)]
    whole = hear(encoder, items, Hearing(window_s=0.5, least_s=0.1), tmp_path / "whole", music).array()

    class Interrupted(Exception):
        pass

    def interrupt(done, total):
        if done == 4:
            raise Interrupted

    monkeypatch.setattr(features, "SAVE_EVERY", 2)
    with pytest.raises(Interrupted):
        hear(encoder, items, Hearing(window_s=0.5, least_s=0.1), tmp_path / "cut", music, progress=interrupt)
    told = []
    again = hear(encoder, items, Hearing(window_s=0.5, least_s=0.1), tmp_path / "cut", music, progress=lambda *at: told.append(at))
    assert told[-1] == (len(whole) - 4, len(whole) - 4)
    np.testing.assert_allclose(again.array(), whole, atol=1e-6)


def test_another_file_of_the_same_name_and_size_is_heard_anew(encoder, tmp_path):
    waves = [0.1 * np.random.default_rng(number).standard_normal(RATE) for number in range(2)]
    found = []
    for number, wave in enumerate(waves):
        soundfile.write(tmp_path / "same.wav", wave, RATE)
        os.utime(tmp_path / "same.wav", (1_000_000 + number, 1_000_000 + number))
        heard = hear(encoder, [Item("same", tmp_path / "same.wav", "test", 0)], Hearing(), tmp_path / "cache", tmp_path)
        found.append((heard.array(), heard.audio_hash))
    assert not np.allclose(found[0][0], found[1][0]) and found[0][1] != found[1][1]


def test_a_file_that_is_replaced_before_it_is_heard_is_not_kept_as_the_one_before(encoder, tmp_path, monkeypatch):
    path = tmp_path / "song.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    items = [Item("song", path, "test", 0)]
    extract_all = features.extract_all

    def replaced(*given):
        soundfile.write(path, 0.1 * np.random.default_rng(1).standard_normal(RATE), RATE)
        os.utime(path, (1_000_000, 1_000_000))
        return extract_all(*given)

    monkeypatch.setattr(features, "extract_all", replaced)
    with pytest.raises(MertError, match="song.wav: changed while it was read; .*, and give the same command again"):
        hear(encoder, items, Hearing(), tmp_path / "cache", tmp_path)
    monkeypatch.undo()
    assert estimate(encoder, items, Hearing(), tmp_path / "cache", tmp_path).windows == 1
    again, whole = (hear(encoder, items, Hearing(), tmp_path / name, tmp_path) for name in ("cache", "whole"))
    np.testing.assert_array_equal(again.array(), whole.array())


def test_file_that_cannot_be_read_is_named(music, encoder, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(MertError, match="broken.wav"):
        hear(encoder, [Item("b", tmp_path / "broken.wav", "test", 0)], Hearing(), tmp_path / "cache", tmp_path)
