"""What `--model` may name, and that all of it is called in the same way."""

import json

import numpy as np
import pytest
import torch
from made_wav2vec import save_wav2vec

from mert_fairseq.errors import MertError
from mert_fairseq.probe.encoders import open_encoder

WAVE = 0.1 * torch.randn(2, 36_000, generator=torch.Generator().manual_seed(0))


def test_log_mel_hears_pitch_and_change():
    encoder = open_encoder("logmel", "cpu")
    time_s = torch.arange(24_000) / 24_000
    low, high = (torch.sin(2 * np.pi * pitch * time_s)[None] for pitch in (220.0, 1760.0))
    (low_state,), (high_state,) = encoder.hidden_states(low), encoder.hidden_states(high)
    assert low_state.shape == (1, 76, 256) and (encoder.num_layers, encoder.dim) == (0, 256)
    assert low_state[0, 20:60, :128].mean(0).argmax() < high_state[0, 20:60, :128].mean(0).argmax()
    tremolo = low * (1 + torch.sign(torch.sin(2 * np.pi * 8 * time_s))) / 2
    assert encoder.hidden_states(tremolo)[0][0, 20:60, 128:].mean() > 3 * low_state[0, 20:60, 128:].mean()


def test_random_weights_are_those_of_the_seed():
    one, same, other = (open_encoder(spec, "cpu") for spec in ("random:mert_tiny", "random:mert_tiny:1", "random:mert_tiny:2"))
    assert one.weights_hash == same.weights_hash != other.weights_hash
    torch.testing.assert_close(one.hidden_states(WAVE), same.hidden_states(WAVE))
    assert len(one.hidden_states(WAVE)) == one.num_layers + 1 and one.frame_rate == 75


@pytest.mark.parametrize("normalise", [True, False])
def test_other_audio_models_are_heard_at_their_own_rate(tmp_path, normalise):
    save_wav2vec(tmp_path, normalise)
    encoder = open_encoder(str(tmp_path), "cpu")
    states = encoder.hidden_states(WAVE)
    assert (encoder.num_layers, encoder.dim, encoder.frame_rate, len(states)) == (2, 16, 50.0, 3)
    assert states[0].shape == (2, 74, 16)  # 1.5 s at 50 frames per second
    louder = encoder.hidden_states(3 * WAVE)[-1]
    assert torch.allclose(louder, states[-1], atol=1e-4) == normalise


def test_what_is_no_encoder_is_refused(tmp_path):
    for spec, said in (
        ("random:mert_huge", "no such configuration; one of .*mert_tiny"),
        ("random:mert_tiny:x", "the seed behind the configuration is a number"),
        ("nowhere", "no such file or folder; a checkpoint, a Hugging Face folder, logmel"),
        ("muq:nowhere", "muq"),
        (str(tmp_path), "config.json: cannot be read"),
    ):
        with pytest.raises(MertError, match=said):
            open_encoder(spec, "cpu")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(MertError, match="model_type='bert': transformers' models that take a wave are .*, wav2vec2,"):
        open_encoder(str(tmp_path), "cpu")
