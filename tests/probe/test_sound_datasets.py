"""Readers of notes, voices and stems: NSynth, VocalSet and MUSDB18."""

import numpy as np
import pytest
from miniature_audio import write_audio
from miniatures import build, named

from mert_fairseq.probe.datasets import musdb18, vocalset_chunks
from mert_fairseq.probe.items import SPLITS
from mert_fairseq.probe.registry import TASKS


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
    assert {item.recording for item in found.of("test")} == {"belt/m3_row_belt", "pp/m3_row_pp"}


def test_vocalset_table_of_mended_names():
    assert len(vocalset_chunks.SINGER_OF) == 28 and set(vocalset_chunks.SINGER_OF.values()) <= set(vocalset_chunks.SINGERS)
    assert len(vocalset_chunks.SINGERS) == 20


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
