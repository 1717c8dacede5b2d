"""Readers of tags: MagnaTagATune and MTG-Jamendo."""

from miniatures import build, named

from mert_fairseq.probe.registry import TASKS


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
