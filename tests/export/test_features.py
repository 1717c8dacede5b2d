"""`mert features` and `extract`: the same numbers from a checkpoint, a folder, any format and any batch; nothing lost on the way."""

import json

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file

from mert_fairseq.cli.main import main
from mert_fairseq.data.audio import read_audio
from mert_fairseq.data.part_files import part_path
from mert_fairseq.errors import MertError
from mert_fairseq.export.audio_pieces import AudioSegment
from mert_fairseq.export.encoder import load_model
from mert_fairseq.export.extraction import extract


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A folder of 2.5 s of decaying chords at 24 kHz, and files of odd lengths below it."""
    folder = tmp_path_factory.mktemp("music")
    time_s = np.arange(60_000) / 24_000
    wave = sum(np.sin(2 * np.pi * 220 * k * time_s) / k for k in range(1, 9)) * np.exp(-(time_s % 0.5) * 5) * 0.1
    soundfile.write(folder / "chords.flac", wave, 24_000)
    (folder / "album").mkdir()
    soundfile.write(folder / "album" / "short.wav", wave[:9_999], 24_000)
    soundfile.write(folder / "album" / "long.wav", np.tile(wave, 3)[:-77], 24_000)
    return folder


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


def test_rerun_makes_only_what_is_missing(one_checkpoint, music, tmp_path, capsys):
    command = ["features", str(one_checkpoint.path), str(music), "--out", str(tmp_path)]
    assert main(command) == 0
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    gone = tmp_path / "album" / "long.wav.npy"
    gone.unlink()
    gone_process = part_path(tmp_path / "album" / "short.wav.npy").name.rsplit(".", 2)[0] + ".999999999.part"
    (tmp_path / "album" / gone_process).write_bytes(b"half")
    (tmp_path / ".film.mkv.part").write_bytes(b"of another program")
    assert main(command) == 0
    assert not (tmp_path / "album" / gone_process).exists() and (tmp_path / ".film.mkv.part").exists()
    assert "3 files, 2 were there, 1 made, 0 failed" in capsys.readouterr().out
    assert [path for path, time in made.items() if path.stat().st_mtime_ns != time] == [gone]


def test_what_changed_on_the_disk_is_made_again(one_checkpoint, music, tmp_path, capsys):
    """Also within an array, where every value is as likely as another; what an older version wrote has no checksum, and that is said."""
    command = ["features", str(one_checkpoint.path), str(music / "chords.flac"), "--out", str(tmp_path)]
    assert main(command) == 0
    path, sources = tmp_path / "chords.flac.npy", tmp_path / "sources.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    assert main(command) == 0
    said = capsys.readouterr()
    assert "0 were there, 1 made" in said.out and path.read_bytes() == whole
    assert f"{path}: damaged (its bytes changed since it was written); made again" in said.err
    name, size, time, _ = json.loads(sources.read_text().splitlines()[-1])
    sources.write_text(json.dumps([name, size, time]) + "\n")
    assert main(command) == 0
    said = capsys.readouterr()
    assert "1 were there, 0 made" in said.out and f"{tmp_path}: 1 features are of an older version, without checksums" in said.err
    path.write_bytes(whole[:-1])
    assert main(command) == 0
    assert "0 were there, 1 made" in capsys.readouterr().out and path.read_bytes() == whole


def test_other_settings_do_not_mix_with_what_is_there(one_checkpoint, music, tmp_path, capsys):
    command = ["features", str(one_checkpoint.path), str(music / "chords.flac"), "--out", str(tmp_path)]
    assert main(command) == 0
    assert main([*command, "--window", "5"]) == 1
    assert "holds features made in another way (window_s 30.0 -> 5.0)" in capsys.readouterr().err
    state = {**one_checkpoint.state, "model": {name: tensor + 1e-3 for name, tensor in one_checkpoint.state["model"].items()}}
    torch.save(state, tmp_path / "other.pt")
    assert main(["features", str(tmp_path / "other.pt"), *command[2:]]) == 1
    assert "weights_sha256" in capsys.readouterr().err


def test_other_audio_of_the_same_name_is_not_taken_for_done(one_checkpoint, music, tmp_path, capsys):
    soundfile.write(tmp_path / "chords.flac", 0.1 * np.random.default_rng(0).standard_normal(30_000), 24_000)
    command = ["features", str(one_checkpoint.path), "--out", str(tmp_path / "f")]
    assert main([*command, str(music / "chords.flac")]) == 0
    made = (tmp_path / "f" / "chords.flac.npy").read_bytes()
    assert main([*command, str(tmp_path / "chords.flac")]) == 1
    assert "holds features of another file of that name" in capsys.readouterr().err
    assert (tmp_path / "f" / "chords.flac.npy").read_bytes() == made


def test_what_cannot_be_read_is_named_and_the_rest_is_made(one_checkpoint, music, tmp_path, capsys):
    given = tmp_path / "given"
    given.mkdir()
    soundfile.write(given / "ten_ms.wav", np.zeros(240), 24_000)
    (given / "noise.mp3").write_bytes(bytes(range(256)) * 20)
    whole = (music / "chords.flac").read_bytes()
    (given / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (given / "fine.flac").write_bytes(whole)
    assert main(["features", str(one_checkpoint.path), str(given), "--out", str(tmp_path / "f"), "--window", "0.5"]) == 1
    out, err = capsys.readouterr()
    assert "4 files, 0 were there, 1 made, 3 failed" in out
    assert "ten_ms.wav: 240 samples at 24 kHz, 10 ms; at least 400 samples (17 ms) needed" in err
    assert "noise.mp3" in err and "cut.flac" in err and len(err.splitlines()) == 3
    assert [path.name for path in (tmp_path / "f").iterdir() if path.suffix == ".npy"] == ["fine.flac.npy"]


def test_faults_of_the_command_are_named_before_anything_is_made(one_checkpoint, music, tmp_path, capsys):
    def said(*audio, **options) -> str:
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        assert main(["features", str(one_checkpoint.path), *map(str, audio), "--out", str(tmp_path / "f"), *flags]) == 1
        assert not (tmp_path / "f").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    (tmp_path / "empty").mkdir()
    assert "no audio file in it" in said(tmp_path / "empty")
    assert "no such file or folder" in said(tmp_path / "gone.wav")
    (tmp_path / "short.wav").write_bytes((music / "album" / "short.wav").read_bytes())
    assert "would both become short.wav" in said(music / "album" / "short.wav", tmp_path / "short.wav")
    assert "layer 9: checkpoint_last.pt has 0 (the transformer's input) to 3" in said(music, layer=9)
    assert "a window of 0.01 s" in said(music, window=0.01)
    assert "batch 0" in said(music, batch=0)
    assert "device 'tpu9'" in said(music, device="tpu9")


def test_full_disk_is_said_and_leaves_no_half_file(one_checkpoint, tmp_path, music, full_disk, capsys):
    command = ["features", str(one_checkpoint.path), str(music / "chords.flac"), "--out", str(tmp_path / "f"), "--pool", "frames"]
    assert main(command) == 1
    assert "make room and give the same command to go on" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["features.json"]


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
