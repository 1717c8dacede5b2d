"""`mert features` and `extract`: the same numbers from a checkpoint, a folder, any format, any batch and any part of a file."""

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file

from mert_fairseq.cli.main import main
from mert_fairseq.data.audio import read_audio
from mert_fairseq.errors import MertError
from mert_fairseq.export.audio_pieces import AudioSegment
from mert_fairseq.export.encoder import load_model
from mert_fairseq.export.extraction import extract


def test_files_of_the_folder_have_the_models_hidden_states(checkpoint, music, tmp_path):
    command = ["features", str(checkpoint.path), str(music), "--out", str(tmp_path / "f")]
    assert main([*command, "--pool", "frames"]) == 0
    for name in ("chords.flac", "album/short.wav", "album/long.wav"):
        wave = torch.from_numpy(read_audio(music / name))
        found = np.load(tmp_path / "f" / f"{name}.npy")
        states = torch.stack(checkpoint.model.hidden_states(wave[None]))[:, 0]
        np.testing.assert_allclose(found, states.numpy(), atol=1e-4, rtol=0)
        model = load_model(str(checkpoint.path))
        np.testing.assert_array_equal(extract(model, music / name, pool="frames"), found)
        np.testing.assert_allclose(extract(model, wave.numpy(), layer=2), found[2].mean(0), atol=1e-6)


def test_exported_folder_gives_the_checkpoints_features(checkpoint, music, tmp_path):
    pytest.importorskip("transformers")
    assert main(["export", str(checkpoint.path), str(tmp_path / "mert")]) == 0
    ours, theirs = load_model(str(checkpoint.path)), load_model(str(tmp_path / "mert"))
    np.testing.assert_array_equal(extract(theirs, music / "chords.flac"), extract(ours, music / "chords.flac"))
    assert ours.weights_hash == theirs.weights_hash


@pytest.mark.parametrize("pool", ["frames", "window", "mean"])
def test_windows_do_not_depend_on_the_batch_and_add_up(one_checkpoint, music, pool):
    model = load_model(str(one_checkpoint.path))
    settings = dict(pool=pool, window_s=0.4)  # 30 frames, 19 windows
    alone = extract(model, music / "album" / "long.wav", batch=1, **settings)
    np.testing.assert_allclose(extract(model, music / "album" / "long.wav", batch=7, **settings), alone, atol=1e-5)
    frames = extract(model, music / "album" / "long.wav", pool="frames", window_s=0.4)
    assert frames.shape == (4, (179_923 - 400) // 320 + 1, 32)
    wave = torch.from_numpy(read_audio(music / "album" / "long.wav", 320 * 60, 9_680))  # the third window, by itself
    third = torch.stack(model.hidden_states(wave[None]))[:, 0].numpy()
    np.testing.assert_allclose(frames[:, 60:90], third, atol=1e-5)
    if pool == "window":
        np.testing.assert_allclose(alone[:, 2], third.mean(1), atol=1e-5)
        np.testing.assert_allclose(alone[:, -1], frames[:, 540:].mean(1), atol=1e-5)
    if pool == "mean":
        np.testing.assert_allclose(alone, frames.mean(1), atol=1e-5)


def test_same_audio_in_other_formats_agrees_within_resampling_error(one_checkpoint, tmp_path):
    model, random = load_model(str(one_checkpoint.path)), np.random.default_rng(0)
    time_s = np.arange(3 * 44_100) / 44_100
    wave = sum(0.1 / k * np.sin(2 * np.pi * 196 * k * time_s + random.uniform(0, 6)) for k in range(1, 20))
    stereo = np.stack([1.2 * wave, 0.8 * wave], axis=1)  # whose mean it is
    soundfile.write(tmp_path / "mono.wav", wave, 44_100, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.wav", stereo, 44_100, subtype="FLOAT")
    soundfile.write(tmp_path / "mono.flac", wave, 44_100, subtype="PCM_24")
    soundfile.write(tmp_path / "stereo.mp3", stereo, 44_100, bitrate_mode="CONSTANT", compression_level=0.0)
    found = {path.name: extract(model, path) for path in sorted(tmp_path.iterdir())}
    spread = np.abs(found["mono.wav"] - found["mono.wav"].mean()).mean()
    for name, most in (("stereo.wav", 1e-5), ("mono.flac", 1e-3), ("stereo.mp3", 3e-2)):
        assert np.abs(found[name] - found["mono.wav"]).max() < most * spread, name


def test_safetensors_holds_the_same_as_npy(one_checkpoint, music, tmp_path):
    for form in ("npy", "safetensors"):
        command = ["features", str(one_checkpoint.path), str(music / "chords.flac"), "--out", str(tmp_path / form)]
        assert main([*command, "--format", form]) == 0
    found = load_file(tmp_path / "safetensors" / "chords.flac.safetensors")
    np.testing.assert_array_equal(found["features"], np.load(tmp_path / "npy" / "chords.flac.npy"))


def test_part_of_a_file_is_heard_alone(one_checkpoint, music):
    model, wave = load_model(str(one_checkpoint.path)), read_audio(music / "chords.flac")
    part = extract(model, AudioSegment(music / "chords.flac", 1_000, 9_000), pool="frames")
    np.testing.assert_array_equal(part, extract(model, wave[1_000:10_000], pool="frames"))
    rest = extract(model, AudioSegment(music / "chords.flac", 51_000), pool="frames")
    np.testing.assert_array_equal(rest, extract(model, wave[51_000:], pool="frames"))


@pytest.mark.parametrize("wave", [np.zeros((2, 24_000)), np.zeros(24_000, np.int16), np.full(24_000, np.nan)], ids=["2d", "int16", "nan"])
def test_waves_that_would_be_misheard_are_refused(one_checkpoint, wave):
    with pytest.raises(MertError, match=r"\[S\] of finite floats wanted"):
        extract(load_model(str(one_checkpoint.path)), wave)
    with pytest.raises(MertError, match="audio of type list"):
        extract(load_model(str(one_checkpoint.path)), [0.0] * 24_000)
