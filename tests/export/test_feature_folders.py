"""Folders of features: the same command makes what is missing, other settings do not mix, and faults are named."""

import json
import os

import numpy as np
import pytest
import soundfile
import torch

from mert_fairseq.cli.main import main
from mert_fairseq.data.audio import read_audio
from mert_fairseq.data.part_files import part_path
from mert_fairseq.errors import MertError
from mert_fairseq.export import audio_pieces
from mert_fairseq.export.encoder import load_model
from mert_fairseq.export.extraction import extract
from mert_fairseq.export.feature_files import FeatureFolder


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


@pytest.fixture
def replaced(one_checkpoint, music, tmp_path, monkeypatch):
    """Features of ten seconds that are replaced by others when their array is made, and how to make them again."""
    given, wave = tmp_path / "given", np.random.default_rng(0).uniform(-0.1, 0.1, 240_000)
    given.mkdir()
    soundfile.write(given / "song.wav", wave, 24_000)
    soundfile.write(tmp_path / "next.wav", wave[::-1], 24_000)
    allocate = FeatureFolder.allocate

    def replace(folder, name, shape):
        os.replace(tmp_path / "next.wav", given / "song.wav")
        return allocate(folder, name, shape)

    def run(*options):
        monkeypatch.setattr(FeatureFolder, "allocate", replace if (tmp_path / "next.wav").exists() else allocate)
        return main(["features", str(one_checkpoint.path), str(given), "--out", str(tmp_path / "f"), "--pool", "frames", *options])

    return run


def test_a_file_that_changes_while_it_is_heard_is_named(replaced, one_checkpoint, tmp_path, capsys):
    """Its windows are read 16 at once: the first ones are of the file that was there, the others would be of the next."""
    assert replaced("--window", "0.5") == 1
    out, err = capsys.readouterr()
    song = tmp_path / "given" / "song.wav"
    assert "0 made, 1 failed" in out
    assert f"mert: {song}: changed while it was read; let what writes to it end, and give the same command again\n" in err
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["features.json"]
    assert replaced("--window", "0.5") == 0
    expected = extract(load_model(str(one_checkpoint.path)), read_audio(song), pool="frames", window_s=0.5)
    np.testing.assert_array_equal(np.load(tmp_path / "f" / "song.wav.npy"), expected)


def test_a_file_that_changes_behind_its_last_sample_is_noted_as_it_was(replaced, tmp_path, capsys):
    """All of it is heard at once, before it is replaced."""
    assert replaced() == 0
    assert replaced() == 1
    assert "holds features of another file of that name or state" in capsys.readouterr().err


def test_a_file_from_python_that_changes_while_it_is_heard_is_refused(one_checkpoint, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "song.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 240_000), 24_000)
    read = audio_pieces.read_audio

    def touched(path, *window):
        wave = read(path, *window)
        os.utime(path, (0, 0))
        return wave

    monkeypatch.setattr(audio_pieces, "read_audio", touched)
    with pytest.raises(MertError, match="song.wav: changed while it was read"):
        extract(load_model(str(one_checkpoint.path)), tmp_path / "song.wav")


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
