"""Readers of what is labelled as a song: GiantSteps, GTZAN and Emomusic."""

import hashlib
import json

import numpy as np
import pytest
import soundfile
from miniature_audio import write_audio
from miniatures import build, named
from song_miniatures import GTZAN_LISTS, beat_times, emomusic_songs, giantsteps_songs

from mert_fairseq.probe.datasets import emomusic, giantsteps, gtzan
from mert_fairseq.probe.items import SPLITS
from mert_fairseq.probe.registry import TASKS


def test_giantsteps_filter_splits_and_flats(miniature):
    found = TASKS["GS"].load(miniature("GS"))
    items = named(found)
    flats = {"D#": "Eb", "F#": "Gb", "A#": "Bb"}
    for number, _, key, _, split in giantsteps_songs():
        if not split:
            assert f"{number:07d}" not in items
            continue
        tonic, scale = key.split()
        item = items[f"{number:07d}"]
        assert (item.split, found.classes[item.label]) == (split, f"{flats.get(tonic, tonic)} {scale}")
    assert {item.name: found.classes[item.label] for item in found.of("test")} == {
        "0010089": "D major",
        "1004923": "Eb minor",
        "3753635": "C minor",
        "0061415": "A major",
    }
    assert len(found.dropped) == 3 and found.classes[0] == "C major" and found.classes[23] == "B minor"


def test_giantsteps_artist_rule():
    """SHA1 of the lower-cased name modulo 116, 100 of them train; two passes carry "valid" two collaborations far."""
    place = int(hashlib.sha1(b"armin van buuren").hexdigest(), 16) % 116
    assert place == 12  # worked out beside the program
    assert giantsteps.artist_splits([["Armin van Buuren"], ["Kaskade"]]) == {"Armin van Buuren": "train", "Kaskade": "train"}
    valid = next(f"x{n}" for n in range(999) if int(hashlib.sha1(f"x{n}".encode()).hexdigest(), 16) % 116 >= 100)
    train = [f"y{n}" for n in range(99) if int(hashlib.sha1(f"y{n}".encode()).hexdigest(), 16) % 116 < 100][:4]
    # Backwards in the table: the first pass reaches train[0], the second train[1], and no third one train[2].
    splits = giantsteps.artist_splits([[train[2], train[1]], [train[1], train[0]], [train[0], valid], [train[3]]])
    assert [splits[name] for name in [valid, *train]] == ["valid", "valid", "valid", "train", "train"]


def test_giantsteps_audio_of_both_sets_in_one_folder(tmp_path):
    data = build("GS", tmp_path)
    (data / "audio").mkdir()
    for folder in list(data.glob("giantsteps*/audio")):
        for path in folder.iterdir():
            path.rename(data / "audio" / path.name)
        folder.rmdir()
    assert all(item.path.is_file() and item.path.parent == data / "audio" for item in TASKS["GS"].load(data).items)


def test_gtzan_genres_and_the_broken_clip(miniature):
    found = TASKS["GTZAN"].load(miniature("GTZAN"))
    assert {item.name: item.split for item in found.items} == {
        name: split for split, names in GTZAN_LISTS.items() for name in names if name != "jazz.00054"
    }
    assert all(found.classes[item.label] == item.name.split(".")[0] for item in found.items)
    assert [text.split(":")[0] for text in found.dropped] == ["jazz.00054"]


def test_gtzan_without_lists_and_as_au(tmp_path):
    """torchaudio has the lists: 930 names, of which one is left out; first published as Sun audio."""
    for name in ("blues.00029", "metal.00012"):
        path = tmp_path / "genres_original" / name.split(".")[0] / f"{name}.au"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.zeros(100), 22_050, format="AU")
    found = TASKS["GTZAN"].load(tmp_path)
    assert {split: len(found.of(split)) for split in SPLITS} == TASKS["GTZAN"].counts == {"train": 442, "valid": 197, "test": 290}
    assert named(found)["blues.00029"].path.suffix == ".au" and named(found)["blues.00029"].split == "train"
    assert named(found)["metal.00012"].split == "test"


def test_gtzan_beats(miniature):
    found = TASKS["GTZANBT"].load(miniature("GTZANBT"))
    names = [name for names in GTZAN_LISTS.values() for name in names]
    for item in found.items:
        expected = beat_times(names.index(item.name))
        np.testing.assert_allclose(item.label.beats, expected)  # without the one behind the end
        np.testing.assert_allclose(item.label.downbeats, expected[::4])
    assert sum(path.suffix == ".jams" for path in found.annotations) == len(found.items)


def test_gtzan_beats_of_early_jams(tmp_path):
    path = tmp_path / "a.jams"
    data = {"time": [0.5, 1.0], "duration": [0, 0], "value": [1, 2], "confidence": [1, 1]}
    path.write_text(json.dumps({"annotations": [{"namespace": "beat", "sandbox": {"annotation_type": "beat"}, "data": data}]}))
    beats = gtzan.read_jams(path, "get it")
    assert beats.beats.tolist() == [0.5, 1.0] and beats.downbeats.tolist() == []


def test_gtzan_beats_as_text(tmp_path):
    data = build("GTZAN", tmp_path)
    folder = data / "gtzan_tempo_beat-main" / "beats"
    folder.mkdir(parents=True)
    for name in (name for names in GTZAN_LISTS.values() for name in names):
        (folder / f"gtzan_{name.replace('.', '_')}.beats").write_bytes(b"0.49\t1\r\n1.00\t2\r\n1.51\t3\r\n2.02\t4\r\n2.53\t1\r\n")
    item = TASKS["GTZANBT"].load(data).items[0]
    assert item.label.beats.tolist() == [0.49, 1.0, 1.51, 2.02, 2.53] and item.label.downbeats.tolist() == [0.49, 2.53]


def test_emomusic_splits_and_values(miniature):
    found = TASKS["EMO"].load(miniature("EMO"))
    items, songs = named(found), emomusic_songs()
    for number, artist, which, *_ in songs:
        expected = "test" if which == "evaluation" else {"Lead Belly": "train", "Bessie Smith": "valid"}[artist]
        assert items[f"{number:04d}"].split == expected
    development = np.array([values for *_, which, arousal, valence in songs for values in [(arousal, valence)] if which == "development"])
    labels = np.array([items[f"{number:04d}"].label for number, *_ in songs])
    raw = np.array([song[3:] for song in songs])
    np.testing.assert_allclose(labels, (raw - development.mean(0)) / development.std(0), rtol=1e-5)
    np.testing.assert_allclose(labels[:8].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(labels[:8].std(0), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["Bessie Smith", "\tBESSIE  SMITH 1927!", "Bessié Smith", "bessie smith"])
def test_emomusic_artist_rule_hears_letters_only(name):
    """Digits, marks and letters beyond ASCII do not count: SHA1("bessie smith") modulo 10 is 8, worked out beside the program."""
    expected = "valid" if name != "Bessié Smith" else None
    place = int(hashlib.sha1(b"bessi smith").hexdigest(), 16) % 10
    assert emomusic.artist_split(name) == (expected or ("train" if place < 8 else "valid"))


def test_emomusic_as_marble_has_it(tmp_path):
    data = build("EMO", tmp_path)
    for path in list((data / "clips_45seconds").iterdir()):
        write_audio(data / "emomusic" / "wav" / f"{int(path.stem):04d}.wav", 1, 1)
        path.unlink()
    (data / "clips_45seconds").rmdir()
    assert all(item.path.is_file() for item in TASKS["EMO"].load(data).items)
