"""Readers of the published datasets, on miniatures in their real layouts."""

import hashlib
import json

import numpy as np
import pytest
import soundfile
from miniatures import COUNTS, GTZAN_LISTS, beat_times, build, emomusic_songs, giantsteps_songs, write_audio

from mert_fairseq.data.audio import audio_info
from mert_fairseq.errors import MertError
from mert_fairseq.probe.audio_check import files_of
from mert_fairseq.probe.data_check import label_fault
from mert_fairseq.probe.datasets import emomusic, giantsteps, gtzan, musdb18, vocalset_chunks
from mert_fairseq.probe.items import SPLITS
from mert_fairseq.probe.registry import TASKS


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    """Task's name -> the data folder of its miniature, built once and not to be changed."""
    folder, built = tmp_path_factory.mktemp("miniatures"), {}

    def get(task):
        if task not in built:
            built[task] = build(task, folder)
        return built[task]

    return get


def named(found):
    return {item.name: item for item in found.items}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_row_reads_its_miniature(task, miniature):
    found = task.load(miniature(task.name))
    counts = tuple(len(found.of(split)) for split in SPLITS)
    assert counts == COUNTS[task.name] if task.name in COUNTS else min(counts) > 0
    assert len(named(found)) == len(found.items)
    assert [label_fault(task.kind, item, len(found.classes)) for item in found.items] == [""] * len(found.items)
    for item in found.items:
        info = audio_info(files_of(item)[0])
        assert item.start_s < info.native_frames / info.native_rate
    assert all(path.is_file() for path in found.annotations)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_names_do_not_depend_on_where_the_data_lies(task, miniature, tmp_path):
    link = tmp_path / task.dataset.name  # and a folder that holds the dataset under its name will do
    link.symlink_to(miniature(task.name))
    assert [item.name for item in task.load(tmp_path).items] == [item.name for item in task.load(miniature(task.name)).items]


def test_magnatagatune_tags_and_folders(miniature):
    found = TASKS["MTT"].load(miniature("MTT"))
    assert len(found.classes) == 50 and found.classes[:3] == ("duet", "no voice", "singer")  # on 7 clips; on 6: in the file's order
    by_folder = {item.name[0]: item.split for item in found.items}
    assert by_folder == {"0": "train", "5": "train", "a": "train", "b": "train", "c": "valid", "d": "test", "e": "test", "f": "test"}
    first = found.items[0]  # clip 0 has the even tags
    assert [name for name, value in zip(found.classes, first.label) if value] == [name for name in found.classes if name in even_tags()]
    assert len(found.dropped) == 1 and "norine_braun" in found.dropped[0]


def even_tags():
    names = ["no voice", "singer", "duet", "plucking", "hard rock"] + [f"tag {number}" for number in range(5, 188)]
    return names[:50:2]


def test_magnatagatune_untagged_clips_can_be_left_out(tmp_path):
    data = build("MTT", tmp_path)
    path = data / "annotations_final.csv"
    lines = path.read_text().split("\n")
    head, *values = lines[1].split("\t")
    lines[1] = "\t".join([head, *['"0"'] * 188, values[-1]])
    path.write_text("\n".join(lines))
    assert len(TASKS["MTT"].load(data).of("train")) == 4
    assert len(TASKS["MTT"].load(data, {"untagged": "drop"}).of("train")) == 3


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


def test_nsynth_labels(miniature):
    families, pitches = TASKS["NSynthI"].load(miniature("NSynthI")), TASKS["NSynthP"].load(miniature("NSynthP"))
    assert all(families.classes[item.label] == item.path.name.split("_")[0] for item in families.items)
    assert all(item.label == int(item.path.name.split("-")[1]) for item in pitches.items)
    assert len(pitches.classes) == 128 and families.classes[10] == "vocal"


def test_nsynth_one_folder_further_down(tmp_path):
    data = build("NSynthI", tmp_path)
    (data / "nsynth-data").mkdir()
    for split in SPLITS:
        (data / f"nsynth-{split}").rename(data / "nsynth-data" / f"nsynth-{split}")
    assert len(TASKS["NSynthI"].load(data).items) == 12


def test_vocalset_chunks(miniature):
    """132,000 samples at 44.1 kHz each; what is left of the recording is dropped, or kept if it is over a third."""
    data = miniature("VocalSetS")
    found = TASKS["VocalSetS"].load(data, {"leading_silence": "keep"})
    chunks = [item for item in found.items if item.name.startswith("belt/f1_arpeggios_belt_e")]  # 7.5 s with its silence
    assert [(round(item.start_s, 4), round(item.stop_s, 4)) for item in chunks] == [(0, 2.9932), (2.9932, 5.9864)]
    kept = TASKS["VocalSetS"].load(data, {"leading_silence": "keep", "remainder": "keep"})
    last = named(kept)["belt/f1_arpeggios_belt_e_02"]
    assert round(last.start_s, 4) == 5.9864 and last.stop_s is None
    assert "belt/f1_arpeggios_belt_a_01" in named(kept) and "belt/f1_arpeggios_belt_a_01" not in named(found)  # 4.5 s: 1.5 s are left


def test_vocalset_silence_before_the_voice_is_cut(miniature):
    found = named(TASKS["VocalSetS"].load(miniature("VocalSetS")))
    starts = [item.start_s for name, item in found.items() if name.endswith("_00")]
    assert all(0.2 < start <= 0.55 for start in starts)  # half a second of silence, and some of it is kept


def test_vocalset_names_are_mended(miniature):
    found = TASKS["VocalSetS"].load(miniature("VocalSetS"))
    mended = named(found)["straight/m8_row_straight_00"]
    assert found.classes[mended.label] == "m8" and mended.path.name == "row_straight.wav"
    assert [text.split(":")[0].split("/")[-1] for text in found.dropped] == ["f2_scales_vibrato_a(1).wav"]


def test_vocalset_splits_follow_the_published_rule(miniature):
    """Groups are places among the sorted recordings of a technique: five vowels each of f1, f2, m1, m3 are 0 to 19.

    Of n groups, the first ceil(share * n) of a permutation are held out; the generator is numpy's of seed 42617, asked for the
    technique task first, then for the singers' test and validation.
    """
    rng = np.random.RandomState(42617)
    pool = np.array([0, 1, 2, 3, 4, 10, 11, 12, 13, 14])  # f1 and m1; f2 and m3 are the technique's test
    technique_valid = set(pool[rng.permutation(10)[:4]])
    singer_test = set(rng.permutation(20)[:4])
    rest = np.array(sorted(set(range(20)) - singer_test))
    singer_valid = set(rest[rng.permutation(16)[:7]])

    def groups(task, split):
        found = TASKS[task].load(miniature(task)).of(split)
        names = [item.name.split("/")[1] for item in found if item.name.startswith("belt/")]
        return {5 * ["f1", "f2", "m1", "m3"].index(name.split("_")[0]) + "aeiou".index(name.split("_")[3]) for name in names}

    assert groups("VocalSetT", "valid") == technique_valid
    assert groups("VocalSetT", "train") == set(pool) - technique_valid
    assert groups("VocalSetT", "test") == {5, 6, 7, 8, 9, 15, 16, 17, 18, 19}
    assert groups("VocalSetS", "test") == singer_test
    assert groups("VocalSetS", "valid") == singer_valid


def test_vocalset_validation_by_singer(miniature):
    found = TASKS["VocalSetT"].load(miniature("VocalSetT"), {"validation": "singer"})
    singers = [{item.path.name.split("_")[0] for item in found.of(split)} for split in SPLITS]
    assert not singers[0] & singers[1] and singers[2] == {"f2", "m3"}


def test_vocalset_chunks_of_a_recording_stay_together(miniature):
    for task in ("VocalSetS", "VocalSetT"):
        splits = {}
        for item in TASKS[task].load(miniature(task)).items:
            assert splits.setdefault(item.path, item.split) == item.split


def test_vocalset_as_marble_has_it(tmp_path):
    for place, split in enumerate(SPLITS):
        names = [f"{technique}/m{place + 1}_row_{technique}_{number:02d}.wav" for technique in ("belt", "pp") for number in range(2)]
        (tmp_path / f"{split}_s.txt").write_text("\n".join(names) + "\n")
        for name in names:
            write_audio(tmp_path / "audio" / name, place, 1)
    found = TASKS["VocalSetS"].load(tmp_path)
    assert {found.classes[item.label] for item in found.of("valid")} == {"m2"} and len(found.items) == 12
    assert all(item.path.is_file() and item.start_s == 0 and item.stop_s is None for item in found.items)


def test_vocalset_table_of_mended_names():
    assert len(vocalset_chunks.SINGER_OF) == 28 and set(vocalset_chunks.SINGER_OF.values()) <= set(vocalset_chunks.SINGERS)
    assert len(vocalset_chunks.SINGERS) == 20


def test_mtg_jamendo_tags_and_paths(miniature):
    found = TASKS["MTGMood"].load(miniature("MTGMood"))
    assert found.classes == ("mood/theme---sad", "mood/theme---happy", "mood/theme---film")  # as they appear, without the CR
    item = named(found)["56/1376256.mp3"]
    assert item.path.name == "1376256.low.mp3" and item.label.tolist() == [1, 0, 0] and item.split == "train"
    assert named(found)["43/3343.mp3"].label.tolist() == [0, 1, 1]


def test_mtg_jamendo_full_bit_rate(tmp_path):
    data = build("MTGGenre", tmp_path)
    for path in list(data.glob("audio-low/*/*")):
        target = data / "audio" / path.parent.name / path.name.replace(".low", "")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert all(item.path.is_file() for item in TASKS["MTGGenre"].load(data).items)


def test_musdb18_validation_songs(miniature):
    pytest.importorskip("yaml")
    found = TASKS["MUSDB18"].load(miniature("MUSDB18"))
    assert [item.name for item in found.of("valid")] == ["Actions - One Minute Smile", "Triviul - Angelsaint"]
    assert found.items[0].path.is_dir() and found.items[0].label.bass == found.items[0].path / "bass.wav"
    assert found.classes == ("vocals", "drums", "bass", "other")
    assert len(musdb18.validation_songs()) == 14


def test_musdb18_own_validation_folder_and_stems(tmp_path):
    for split, names in (("train", ["A - B", "C - D"]), ("valid", ["E - F"]), ("test", ["G - H"])):
        (tmp_path / split).mkdir()
        for name in names:
            (tmp_path / split / f"{name}.stem.mp4").write_bytes(b"\0\0\0\x20ftypM4A ")
    found = TASKS["MUSDB18"].load(tmp_path)
    splits = [("A - B", "train"), ("C - D", "train"), ("E - F", "valid"), ("G - H", "test")]
    assert [(item.name, item.split) for item in found.items] == splits
    assert found.items[0].label.vocals == found.items[0].path


MTG_LIST = "mtg*/data/splits/split-0/autotagging_moodtheme-train.tsv"


@pytest.mark.parametrize(
    "task, path, old, new, words",
    [
        ("MTT", "annotations_final.csv", '"3"\t"0"', '"3"\t"2"', ["line 3", "'no voice'", "'2'", "0, 1"]),
        ("MTT", "annotations_final.csv", '"0/jackalopes', '"g/jackalopes', ["line 2", "folder", "'g'"]),
        ("MTT", "annotations_final.csv", '"mp3_path"', '"path"', ["'mp3_path'", "line 1"]),
        ("GS", "giantsteps-mtg*/annotations/annotations.txt", "A major", "H major", ["line 3", "'H major'", "24"]),
        ("GS", "giantsteps-key*/annotations/key/10089.LOFI.key", "D major", "D dorian", ["10089.LOFI.key", "'D dorian'"]),
        ("GS", "giantsteps-mtg*/annotations/beatport_metadata.txt", "5061\t", "5062\t", ["beatport_metadata.txt", "'5061'"]),
        ("GTZAN", "valid_filtered.txt", "rock/rock.00010", "polka/polka.00010", ["valid_filtered.txt", "'polka'", "blues"]),
        ("GTZANBT", "GTZAN-Rhythm*/jams/blues.00029.wav.jams", '"annotations"', '"notes"', ["blues.00029", "'annotations'"]),
        ("GTZANBT", "GTZAN-Rhythm*/jams/blues.00029.wav.jams", "{", "", ["blues.00029", "not JSON"]),
        ("EMO", "songs_info.csv", "evaluation", "test", ["line 10", "'test'", "evaluation, development"]),
        ("EMO", "static_annotations.csv", "2,2.0,", "2,x,", ["line 2", "mean_arousal", "'x'", "1 to 9"]),
        ("EMO", "static_annotations.csv", "1000,", "1001,", ["static_annotations.csv", "1000"]),
        ("NSynthI", "nsynth-valid/examples.json", '_family_str": "organ"', '_family_str": "kazoo"', ["'kazoo'", "vocal"]),
        ("NSynthP", "nsynth-test/examples.json", '"pitch": 52', '"pitch": 300', ["nsynth-test/examples.json", "'300'", "128"]),
        ("NSynthP", "nsynth-test/examples.json", '"pitch"', '"note"', ["examples.json", "'pitch'"]),
        ("MTGMood", MTG_LIST, "mood/theme---sad", "genre---rock", ["line 2", "'genre---rock'"]),
        ("MTGMood", MTG_LIST, "\t166.0", "", ["line 2", "5 fields", "6 expected"]),
    ],
)
def test_bad_annotations_are_named(task, path, old, new, words, tmp_path):
    """The file, the line or item, the value and what is allowed, in one line that says where to get a good one."""
    data = build(task, tmp_path)
    (file,) = data.glob(path)
    text = file.read_bytes().decode()
    assert old in text
    file.write_bytes(text.replace(old, new).encode())
    with pytest.raises(MertError) as error:
        TASKS[task].load(data)
    message = str(error.value)
    assert [word for word in words if word not in message] == [] and "\n" not in message and "get" in message


@pytest.mark.parametrize(
    "task, path",
    [
        ("MTT", "annotations_final.csv"),
        ("GS", "giantsteps-mtg*/annotations/annotations.txt"),
        ("GS", "giantsteps-mtg*/annotations/beatport_metadata.txt"),
        ("GS", "giantsteps-key*/annotations/key/1004923.LOFI.key"),
        ("GTZAN", "test_filtered.txt"),
        ("GTZANBT", "GTZAN-Rhythm*/jams/metal.00000.wav.jams"),
        ("EMO", "songs_info.csv"),
        ("EMO", "static_annotations.csv"),
        ("NSynthI", "nsynth-train/examples.json"),
        ("MTGTop50", "mtg*/data/splits/split-0/autotagging_top50tags-validation.tsv"),
        ("MUSDB18", "train/ANiMAL - Clinic A/bass.wav"),
    ],
)
def test_a_missing_file_is_named(task, path, tmp_path):
    data = build(task, tmp_path)
    (file,) = data.glob(path)
    file.unlink()
    with pytest.raises(MertError) as error:
        TASKS[task].load(data)
    assert file.name in str(error.value) and "get" in str(error.value)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_an_empty_and_a_missing_folder(task, tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(MertError) as error:
            task.load(folder)
        assert str(folder) in str(error.value) and "get" in str(error.value)
