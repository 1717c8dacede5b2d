"""The encoder's frames beside those of the spectrogram: in chunks and songs, of any layer and rate, heard or kept."""

import numpy as np
import pytest
import torch
from made_separation import CountingEncoder, counting

from mert_fairseq.errors import MertError
from mert_fairseq.probe.encoders import open_encoder
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.network import SeparationNetwork
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.spectrogram import num_frames
from mert_fairseq.probe.separation.stored_features import KeepingListener, num_bytes


def test_chunks_have_the_spectrograms_frames_whatever_is_heard_at_a_time():
    waves = torch.stack([counting(144_000, 320_000 * clip) for clip in range(5)])
    encoder = CountingEncoder()
    found = Listener(encoder, SeparationSettings(encoder_batch=2)).chunks(waves, range(5))
    assert found.shape == (3, 5, 451, 2) and encoder.heard == [(2, 144_000), (2, 144_000), (1, 144_000)]
    assert found[:, 0, 0, 0].tolist() == [1, 2, 3]
    frames = torch.arange(451).clamp(max=448)  # 144,000 samples give 449 frames; the last is repeated
    torch.testing.assert_close(found[1, :, :, 1], 1000.0 * torch.arange(5)[:, None] + frames)
    found.requires_grad_()  # nothing that inference mode forbids


@pytest.mark.parametrize("num_samples", [400, 24_000, 24_079, 24_080, 24_400, 50_000, 96_333])
def test_pieces_of_a_song_are_the_whole_song(num_samples):
    encoder = CountingEncoder()
    pieces = list(Listener(encoder, SeparationSettings(layer=2, piece_s=1.0)).song(counting(num_samples), "song"))
    found = torch.cat(pieces, 2)
    assert found.shape == (1, 1, num_frames(num_samples), 2)
    last = (num_samples - 400) // 320
    torch.testing.assert_close(found[0, 0, :, 1], torch.arange(num_frames(num_samples)).clamp(max=last).float())
    assert (found[..., 0] == 2).all() and all(length <= 24_080 for _, length in encoder.heard)


@pytest.mark.parametrize("frame_rate, wanted", [(50.0, [0, 0, 1.5, 3, 3, 4.5]), (25.0, [0, 0, 0, 3, 3, 3])])
def test_other_frame_rates_are_brought_to_75_hz(frame_rate, wanted):
    encoder = CountingEncoder(frame_rate=frame_rate)
    settings = SeparationSettings(layer=0, piece_s=1.0)
    chunk = Listener(encoder, settings).chunks(counting(48_000)[None], [0])
    song = torch.cat(list(Listener(encoder, settings).song(counting(48_000), "song")), 2)
    assert chunk.shape == song.shape == (1, 1, 151, 2)
    assert chunk[0, 0, :6, 1].tolist() == wanted
    assert (chunk[0, 0, :, 1] - song[0, 0, :, 1]).abs().max() <= 3  # a piece's end repeats its last frame


def test_all_layers_leave_out_the_transformers_input_where_there_is_another():
    assert Listener(CountingEncoder(12), SeparationSettings()).num_layers == 12
    mel = open_encoder("logmel", "cpu")
    listener = Listener(mel, SeparationSettings(piece_s=0.5))
    wave = 0.1 * torch.randn(24_123, generator=torch.Generator().manual_seed(0))
    found = torch.cat(list(listener.song(wave, "song")), 2)
    assert found.shape == (1, 1, 76, 256)
    torch.testing.assert_close(found[0, 0, 5:30], mel.hidden_states(wave[None])[0][0, 5:30])


def test_kept_features_are_heard_once_and_last(tmp_path):
    settings, waves = SeparationSettings(chunk_s=1.0, piece_s=1.0), torch.stack([counting(24_000, 640 * clip) for clip in range(4)])

    def listener():
        encoder = CountingEncoder()
        return encoder, KeepingListener(encoder, settings, tmp_path, 4)

    encoder, keeping = listener()
    first = keeping.chunks(waves[:3], [0, 1, 2])
    torch.testing.assert_close(first, Listener(encoder, settings).chunks(waves[:3], [0, 1, 2]), rtol=1e-3, atol=0)
    song = torch.cat(list(keeping.song(counting(60_000), "train/a song")), 2)
    encoder, keeping = listener()
    again = keeping.chunks(waves[[3, 1, 2]], np.array([3, 1, 2]))
    assert encoder.heard == [(1, 24_000)] and torch.equal(again[:, 1:], first[:, 1:])
    assert torch.equal(torch.cat(list(keeping.song(counting(60_000), "train/a song")), 2), song) and len(encoder.heard) == 1
    written = sum(path.stat().st_size for path in tmp_path.rglob("*.*")) - 3 * 128 - 4 * 8  # headers, and the mixes' checksums
    assert written == num_bytes(encoder, settings, 4, []) + 3 * num_frames(60_000) * 2 * 2


def test_kept_features_without_room_say_so(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(MertError, match="GB for features cannot be taken .No space left on device.; make room"):
        KeepingListener(CountingEncoder(), SeparationSettings(), tmp_path, 4).chunks(torch.zeros(1, 144_000), [0])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_network_has_the_published_shape():
    """12 x 768 in, LSTM of 512 one way, 1025 bins out; both ways: 256 each, the same widths between."""
    settings = SeparationSettings()
    shapes = {name: tuple(parameter.shape) for name, parameter in SeparationNetwork(12, 768, settings).named_parameters()}
    assert shapes["layer_weights"] == (12,) and shapes["input_scale"] == (768,) and shapes["enter.weight"] == (512, 768)
    assert shapes["lstm.weight_hh_l2"] == (4 * 512, 512) and "lstm.weight_hh_l0_reverse" not in shapes
    assert shapes["middle.weight"] == (512, 1024) and shapes["leave.weight"] == (1025, 512) and "leave.bias" not in shapes
    both = SeparationNetwork(12, 768, SeparationSettings(bidirectional=True))
    assert both.lstm.weight_hh_l0_reverse.shape == (4 * 256, 256) and both.middle.weight.shape == (512, 1024)


def test_network_is_a_mask_on_the_mixture_of_weighted_layers():
    torch.manual_seed(0)
    settings = SeparationSettings(hidden=8, lstm_layers=1)
    network = SeparationNetwork(2, 3, settings).eval()
    network.layer_weights.data = torch.tensor([3.0, 1.0]).log()
    features, mixture = torch.randn(2, 2, 5, 3), torch.rand(2, 5, 1025)
    torch.testing.assert_close(network.mix_layers(features), 0.75 * features[0] + 0.25 * features[1])
    found = network(features, mixture)
    assert found.shape == mixture.shape and (found >= 0).all()
    torch.testing.assert_close(network(features, 2 * mixture), 2 * found)
    changed = features.clone()
    changed[:, :, 3] += 1
    assert torch.equal(network(changed, mixture)[:, :3], found[:, :3])  # one way: what comes later changes nothing


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(targets=("vocals", "piano")), "targets vocals, piano: some of vocals, drums, bass, other wanted, each once"),
        (dict(targets=()), "targets none"),
        (dict(layer=4), "layer 4: counting has 0 .the transformer's input. to 3"),
        (dict(wiener="yes"), "wiener 'yes': one of alone, together, none wanted"),
        (dict(score_rate=48_000), "score_rate 48000: one of 24000, 44100 wanted"),
        (dict(batch=0), "batch 0: at least 1 wanted"),
        (dict(bidirectional=True, hidden=7), "hidden 7: an even number wanted"),
        (dict(lr=0.0), "lr 0.0"),
        (dict(chunk_s=0.01), "a window of 0.01 s"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, said):
    with pytest.raises(MertError, match=said):
        SeparationSettings(**change).check(CountingEncoder())
    SeparationSettings().check(CountingEncoder())
