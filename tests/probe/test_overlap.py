"""Training data that holds test recordings is found, whatever was done to the file; other music is not."""

import functools
import os

import numpy as np
import pytest
import soundfile

from mert_fairseq.data.audio import AudioError
from mert_fairseq.data.manifest import write_manifest
from mert_fairseq.probe import fingerprint as fingerprint_module
from mert_fairseq.probe.fingerprint import FingerprintCache, fingerprint, landmarks, spectral_peaks
from mert_fairseq.probe.items import Item
from mert_fairseq.probe.overlap import LandmarkIndex, OverlapReport, find_overlap

RATE = 32_000


@functools.lru_cache
def music(seed, seconds=30.0, rate=RATE):
    """Random notes of decaying harmonics in one key over a drum: float32 [S]; every piece has the same drum and tempo."""
    rng = np.random.default_rng(seed)
    wave = np.zeros(int(seconds * rate))
    scale = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12)
    time = np.arange(rate) / rate
    for start in np.arange(0, seconds - 1.01, 0.25):
        place = int(start * rate)
        pitch = rng.choice(scale) * rng.choice([0.5, 1, 2])
        note = sum(np.sin(2 * np.pi * pitch * harmonic * time) / harmonic for harmonic in (1, 2, 3, 4)) * np.exp(-4 * time)
        wave[place : place + rate] += 0.1 * rng.uniform(0.5, 1) * note
    drum = np.random.default_rng(0).standard_normal(rate // 20) * np.exp(-np.arange(rate // 20) / 300)
    for start in np.arange(0, seconds - 0.1, 0.5):
        wave[int(start * rate) : int(start * rate) + len(drum)] += 0.2 * drum
    return wave.astype(np.float32)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """Folder of ten test recordings, of which others are made."""
    folder = tmp_path_factory.mktemp("pieces")
    for seed in range(10):
        soundfile.write(folder / f"{seed}.wav", music(seed), RATE, subtype="PCM_16")
    return folder


def items_of(pieces):
    return [Item(f"piece {seed}", pieces / f"{seed}.wav", "test", 0) for seed in range(10)]


def search(pieces, files, folder, **settings):
    """Report for training files: name -> (wave, rate, settings of the format)."""
    audio = folder / "audio"
    audio.mkdir()
    for name, (wave, rate, kind) in files.items():
        soundfile.write(audio / name, wave, rate, **kind)
    write_manifest(folder / "train.tsv", audio, [(name, 24_000) for name in files])
    return find_overlap(folder / "train.tsv", items_of(pieces), folder / "cache", **settings)


@pytest.fixture(scope="module")
def report(pieces, tmp_path_factory):
    """Of copies in many forms, and of other music."""
    files = {
        "0 same audio.flac": (soundfile.read(pieces / "0.wav")[0], RATE, {}),
        "1 as MP3.mp3": (music(1), RATE, {"bitrate_mode": "CONSTANT", "compression_level": 0.9}),
        "2 excerpt.wav": (music(2)[int(11.013 * RATE) : int(21.013 * RATE)], RATE, {}),
        "3 quieter.wav": (0.1 * music(3), RATE, {}),
        "4 excerpt as OGG.ogg": (0.5 * music(4)[int(7.777 * RATE) : int(17.777 * RATE)], RATE, {}),
        "5 inside another.wav": (np.concatenate([music(50, 9.4), music(5), music(51, 5)]), RATE, {}),
        "6 stereo with noise.wav": (noisy_stereo(music(6)), RATE, {}),
        "7 half of it.wav": (np.concatenate([music(52, 15.2), music(7)[: 15 * RATE]]), RATE, {}),
        **{f"other {seed}.wav": (music(seed), RATE, {}) for seed in range(100, 110)},
    }
    return search(pieces, files, tmp_path_factory.mktemp("training"))


def noisy_stereo(wave):
    noise = 0.003 * np.random.default_rng(9).standard_normal((len(wave), 2)).astype(np.float32)
    return np.stack([wave, 0.7 * wave], axis=1) + noise


def test_every_form_is_found_and_nothing_else(report):
    found = {(overlap.train_path.name, overlap.item, overlap.how) for overlap in report.overlaps}
    other = "an excerpt or another encoding"
    assert found == {
        ("0 same audio.flac", "piece 0", "the same audio"),
        ("1 as MP3.mp3", "piece 1", other),
        ("2 excerpt.wav", "piece 2", other),
        ("3 quieter.wav", "piece 3", other),
        ("4 excerpt as OGG.ogg", "piece 4", other),
        ("5 inside another.wav", "piece 5", other),
        ("6 stereo with noise.wav", "piece 6", other),
        ("7 half of it.wav", "piece 7", other),
    }
    assert min(overlap.share for overlap in report.overlaps) > 0.1  # well above what is needed


def test_other_music_has_next_to_nothing_in_common(pieces):
    """Same key, same tempo, the same drum."""
    index = LandmarkIndex([fingerprint(pieces / f"{seed}.wav") for seed in range(1, 10)])
    assert index.matches(fingerprint(pieces / "0.wav")) == {}


def test_the_warning_tells_how_many_and_where(report):
    text = report.warning("GTZAN")
    assert text.startswith("GTZAN: 8 of 10 test items are in the training data, e.g. piece 0 in ")
    assert "0 same audio.flac (the same audio)" in text and "\n" not in text
    assert OverlapReport(num_items=10).warning("GTZAN") == ""


def test_a_file_that_cannot_be_read_is_counted(pieces, tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "bad.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "audio" / "good.wav", music(7), RATE)
    write_manifest(tmp_path / "train.tsv", tmp_path / "audio", [("gone.wav", 10), ("bad.wav", 10), ("good.wav", 10)])
    told = []
    report = find_overlap(tmp_path / "train.tsv", items_of(pieces)[6:8], tmp_path / "cache", progress=lambda *done: told.append(done))
    assert [overlap.item for overlap in report.overlaps] == ["piece 7"] and report.num_files == 3
    assert len(report.unreadable) == 2 and "gone.wav" in report.unreadable[0] and "bad.wav" in report.unreadable[1]
    assert told[-1] == (5, 5)


def test_two_items_of_one_recording_are_both_named(pieces, tmp_path):
    soundfile.write(tmp_path / "copy.wav", music(8), RATE, subtype="PCM_16")
    write_manifest(tmp_path / "train.tsv", tmp_path, [("copy.wav", 10)])
    items = [Item(f"chunk {number}", pieces / "8.wav", "test", 0, 3.0 * number, 3.0 * number + 3) for number in range(2)]
    report = find_overlap(tmp_path / "train.tsv", items, tmp_path / "cache")
    assert [overlap.item for overlap in report.overlaps] == ["chunk 0", "chunk 1"] and report.num_items == 2


def test_fingerprints_are_made_once_and_again_when_a_file_changes(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(fingerprint_module, "fingerprint", lambda path: made.append(path) or fingerprint(path))
    path, cache = tmp_path / "a.wav", FingerprintCache(tmp_path / "cache")
    soundfile.write(path, music(1, 3.0), RATE)
    first, second = cache.get(path), FingerprintCache(tmp_path / "cache").get(path)
    assert len(made) == 1 and first.digest == second.digest and np.array_equal(first.peaks, second.peaks)
    soundfile.write(path, music(2, 4.0), RATE)
    assert cache.get(path).digest != first.digest and len(made) == 2


def test_a_fingerprint_of_a_file_that_is_replaced_meanwhile_is_not_kept(tmp_path, monkeypatch):
    path, cache = tmp_path / "a.wav", FingerprintCache(tmp_path / "cache")
    soundfile.write(path, music(1, 3.0), RATE)
    state = path.stat()

    def replaced(path):
        soundfile.write(path, music(2, 3.0), RATE)
        return fingerprint(path)

    monkeypatch.setattr(fingerprint_module, "fingerprint", replaced)
    with pytest.raises(AudioError, match="a.wav: changed while it was read; .*, and give the same command again"):
        cache.get(path)
    monkeypatch.undo()
    soundfile.write(path, music(1, 3.0), RATE)  # the first one is put back, with its time
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert cache.get(path).digest == fingerprint(path).digest


def test_a_cut_off_cache_file_is_made_again(tmp_path):
    path, cache = tmp_path / "a.wav", FingerprintCache(tmp_path / "cache")
    soundfile.write(path, music(1, 3.0), RATE)
    digest = cache.get(path).digest
    (stored,) = (tmp_path / "cache").glob("*/*.npz")
    stored.write_bytes(stored.read_bytes()[:100])
    assert cache.get(path).digest == digest == FingerprintCache(tmp_path / "cache").get(path).digest


def test_blocks_change_nothing(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", music(3, 12.0, 24_000), 24_000, subtype="PCM_16")
    whole = fingerprint(tmp_path / "a.wav")
    monkeypatch.setattr(fingerprint_module, "BLOCK_STEPS", 100)  # 3.2 s
    blocks = fingerprint(tmp_path / "a.wav")
    assert blocks.digest == whole.digest and np.array_equal(blocks.peaks, whole.peaks) and len(whole.peaks) > 50


def test_peaks_are_where_the_sound_is():
    """A tone burst at 1,000 Hz in the middle of silence: bin 1000 / (24000 / 2048) = 85.3, less the lowest bin."""
    wave = np.zeros(48_000, np.float32)
    time = np.arange(4_800) / 24_000
    wave[24_000:28_800] = np.hanning(4_800) * np.sin(2 * np.pi * 1000 * time)
    ((frame, place),) = spectral_peaks(wave)
    assert place + fingerprint_module.LOW_BIN == 85 and frame == round(26_400 / fingerprint_module.STEP)


def test_silence_and_short_files_have_no_landmarks(tmp_path):
    for name, length in (("silent.wav", 72_000), ("short.wav", 100)):
        soundfile.write(tmp_path / name, np.zeros(length), 24_000)
        assert fingerprint(tmp_path / name).peaks.shape == (0, 2)
    silent = fingerprint(tmp_path / "silent.wav")
    assert LandmarkIndex([silent]).matches(silent) == {} and LandmarkIndex([]).matches(silent) == {}


def test_landmarks_of_a_known_constellation():
    """Pairs of following peaks in later frames, up to 2 s (63 frames) on: both bins and the frames between."""
    pairs, frames = landmarks(np.array([[0, 5], [0, 9], [10, 7], [90, 3]], np.uint32))
    expected = {(5 << 15) | (7 << 6) | 10, (9 << 15) | (7 << 6) | 10}
    assert set(pairs.tolist()) == expected and frames.tolist() == [0, 0]
