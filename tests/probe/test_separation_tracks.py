"""MUSDB18 on disk: what is read is what is there, in any window; what is not as published is named before anything is computed."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from made_stems import RATE, STEMS, TRACKS, made_stems, musdb_item, musdb_items, write_musdb, write_track

from mert_fairseq.data.audio import read_audio
from mert_fairseq.errors import MertError
from mert_fairseq.probe.items import TaskData
from mert_fairseq.probe.separation import stem_files
from mert_fairseq.probe.separation.data import open_tracks
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.tracks import open_track, read_song, samples_at_24k

SHORT = SeparationSettings(chunk_s=1.0)


@pytest.fixture(scope="module")
def musdb(tmp_path_factory):
    root = tmp_path_factory.mktemp("musdb18hq")
    return root, write_musdb(root)


def opened(data, decoded):
    return open_tracks(data, SHORT, decoded, lambda *_: None)


def refusal(data, decoded) -> str:
    with pytest.raises(MertError) as error:
        opened(data, decoded)
    (line,) = str(error.value).splitlines()
    return line


def test_splits_windows_and_channels(musdb, tmp_path):
    root, data = musdb
    splits = opened(data, tmp_path)
    assert {split: [track.name for track in tracks] for split, tracks in splits.items()} == {
        split: [name for _, own, name in TRACKS if own == split] for split in ("train", "valid", "test")
    }
    assert [track.channels for track in splits["train"]] == [2, 2, 2, 1]
    window = splits["train"][1].read(["bass", "vocals"], 10_001, 777)
    whole = [soundfile.read(root / "train" / "ANiMAL - Clinic A" / f"{stem}.wav", dtype="float32")[0].T for stem in ("bass", "vocals")]
    np.testing.assert_array_equal(window, np.stack(whole)[:, :, 10_001 : 10_001 + 777])


def test_a_song_at_24_khz_is_the_sum_of_its_stems_and_what_other_tasks_hear(musdb, tmp_path):
    root, data = musdb
    track = opened(data, tmp_path)["test"][0]
    mixture, *stems = read_song(track, ["mixture", *STEMS])
    assert mixture.shape == (2, 72_000) and samples_at_24k(track) == 72_000
    np.testing.assert_allclose(sum(stems).numpy(), mixture.numpy(), atol=1e-5)
    np.testing.assert_allclose(mixture.mean(0).numpy(), read_audio(root / "test" / track.name / "mixture.wav"), atol=1e-5)


def test_missing_and_different_files_are_named(tmp_path):
    def track(name):
        write_track(tmp_path / "train" / name, made_stems(1))
        return tmp_path / "train" / name

    def said(folder):
        with pytest.raises(MertError) as error:
            open_track(musdb_item(folder, "train"))
        assert str(folder) in str(error.value)
        (line,) = str(error.value).splitlines()
        return line

    missing = track("a")
    (missing / "bass.wav").unlink()
    assert "bass.wav is missing; a track has mixture.wav, vocals.wav, drums.wav, bass.wav, other.wav" in said(missing)
    longer = track("b")
    soundfile.write(longer / "drums.wav", np.zeros((RATE * 3 + 1, 2)), RATE)
    assert "drums.wav: 132301 samples of 2 channels, its mixture 132300 of 2" in said(longer)
    mono = track("c")
    soundfile.write(mono / "vocals.wav", np.zeros(RATE * 3), RATE)
    assert "vocals.wav: 132300 samples of 1 channels, its mixture 132300 of 2" in said(mono)
    slower = track("d")
    soundfile.write(slower / "other.wav", np.zeros((RATE * 3, 2)), 48_000)
    assert "other.wav: 48000 Hz; MUSDB18 has 44100 Hz" in said(slower)
    noise = track("e")
    (noise / "mixture.wav").write_bytes(bytes(range(256)))
    assert "mixture.wav: cannot be read" in said(noise)
    assert "no such folder of a track" in said(tmp_path / "train" / "f")


def test_a_file_cut_short_after_the_look_is_named_when_it_is_read(tmp_path):
    write_track(tmp_path / "a", made_stems(1))
    track = open_track(musdb_item(tmp_path / "a", "train"))
    path = tmp_path / "a" / "drums.wav"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(MertError, match="drums.wav: 44100 finite samples expected from 80000 on, 0 found|drums.wav: cannot be read"):
        track.read(["drums"], 80_000, 44_100)


def test_empty_splits_and_short_tracks_are_named(musdb, tmp_path):
    _, data = musdb
    without = {split: TaskData([item for item in data.items if item.split != split], data.classes) for split in ("valid", "test")}
    assert "no track of split test; its tracks lie in the folder test" in refusal(without["test"], tmp_path)
    assert "no track of split valid; valid are 14 of its train folder" in refusal(without["valid"], tmp_path)
    write_track(tmp_path / "short", made_stems(1, 0.99))
    item = musdb_item(tmp_path / "short", "train")
    assert "mixture.wav: 0.99 s long, 1.00 s needed for a training mix" in refusal(TaskData([*data.items, item], ()), tmp_path)


def test_stems_release_without_ffmpeg_says_what_to_install(musdb, tmp_path, monkeypatch):
    _, data = musdb
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "Music Delta - Rock.stem.mp4"
    path.write_bytes(b"mp4")
    monkeypatch.setattr(stem_files.shutil, "which", lambda program: None)
    line = refusal(TaskData([musdb_item(path, "train"), *data.items], ()), tmp_path / "decoded")
    assert "Music Delta - Rock.stem.mp4: ffmpeg decodes it and is not installed; apt-get install ffmpeg, or use the WAV release" in line


def write_stem_file(path, stems):
    """As the STEMS release: five AAC streams, mixture, drums, bass, other, vocals."""
    waves = dict(zip(STEMS, stems), mixture=stems.sum(0))
    command = ["ffmpeg", "-v", "error"]
    for name in ("mixture", "drums", "bass", "other", "vocals"):
        soundfile.write(path.parent / f"{name}.wav", waves[name], RATE)
        command += ["-i", str(path.parent / f"{name}.wav")]
    maps = [text for number in range(5) for text in ("-map", str(number))]
    subprocess.run([*command, *maps, "-c:a", "aac", "-b:a", "256k", str(path)], check=True)


@pytest.mark.skipif(not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="ffmpeg and ffprobe decode .stem.mp4: not installed")
def test_stems_release_is_decoded_once_each_stream_to_its_stem(tmp_path):
    pytest.importorskip("musdb")
    time_s = np.arange(2 * RATE) / RATE
    tones = np.stack([0.2 * np.sin(2 * np.pi * pitch * time_s) for pitch in (220, 440, 880, 1760)])
    for folder, _, name in TRACKS[3:6]:
        (tmp_path / folder).mkdir(exist_ok=True)
        write_stem_file(tmp_path / folder / f"{name}.stem.mp4", np.stack([tones, tones], axis=-1))
    data = TaskData([item for item in musdb_items(tmp_path, ".stem.mp4").items if item.path.exists()], STEMS)
    track = opened(data, tmp_path / "decoded")["test"][0]
    assert track.num_samples >= 2 * RATE and track.channels == 2
    found = track.read(STEMS, 0, 2 * RATE)[:, 0]
    match = np.abs(np.fft.rfft(found)).argmax(-1) / 2
    np.testing.assert_allclose(match, [220, 440, 880, 1760])
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "decoded").rglob("*.flac")}
    assert len(files) == 15
    next(iter(files)).unlink()
    opened(data, tmp_path / "decoded")
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "decoded").rglob("*.flac")}
    assert len(again) == 15 and sum(again[path] != files[path] for path in files) == 1
    data.items[0].path.write_bytes(data.items[0].path.read_bytes()[:5_000])
    shutil.rmtree(tmp_path / "decoded")
    assert "cannot be decoded" in refusal(data, tmp_path / "decoded")
