"""All readers of the published datasets, on miniatures in their real layouts: what they give, and what they refuse."""

import re

import pytest
from miniatures import COUNTS, build, named

from mert_fairseq.data.audio import audio_info
from mert_fairseq.errors import MertError
from mert_fairseq.probe.audio_check import files_of
from mert_fairseq.probe.data_check import label_fault
from mert_fairseq.probe.items import SPLITS
from mert_fairseq.probe.registry import TASKS


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


#: Of the datasets whose items are parts of recordings, the recording of an item's name.
RECORDING = {
    "MTT": lambda name: re.sub(r"-\d+-\d+[.]mp3$", "", name),  # f/artist-album-01-song-30-59.mp3
    "VocalSetS": lambda name: name[:-3],  # belt/f1_arpeggios_belt_a_00
    "VocalSetT": lambda name: name[:-3],
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_parts_of_a_recording_name_it(task, miniature):
    found = task.load(miniature(task.name))
    assert [item.recording for item in found.items] == [RECORDING.get(task.name, lambda name: None)(item.name) for item in found.items]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_names_do_not_depend_on_where_the_data_lies(task, miniature, tmp_path):
    link = tmp_path / task.dataset.name  # and a folder that holds the dataset under its name will do
    link.symlink_to(miniature(task.name))
    assert [item.name for item in task.load(tmp_path).items] == [item.name for item in task.load(miniature(task.name)).items]


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
