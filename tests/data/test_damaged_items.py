"""Damaged recordings and targets in the data set: named, left out where that is tolerated, and counted over its processes."""

import logging

import pytest
from made_crops import CROP, LENGTHS, batches

from mert_fairseq.errors import MertError


def damage(corpus, *rows):
    for row in rows:
        (corpus.audio / f"train{row}.wav").write_bytes(b"no audio")


@pytest.mark.parametrize("how", ["garbage", "missing", "cut short"])
def test_a_damaged_file_stops_with_its_name(build, corpus, how):
    dataset = build()
    path = corpus.audio / "train2.wav"
    if how == "garbage":
        path.write_bytes(b"no audio")
    if how == "missing":
        path.unlink()
    if how == "cut short":
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(MertError) as caught:
        dataset[2]
    message = str(caught.value)
    assert message.startswith(str(path)) and message.endswith("(task.max_bad_files=0 damaged files are allowed)")
    assert len(dataset[1]["wave"]) == CROP


def test_tolerated_files_are_left_out_counted_and_listed(build, corpus, caplog):
    dataset = build(per_file=2, max_bad_files=2)
    damage(corpus, 0, 3)
    assert dataset.bad_files == []
    assert dataset[0] is None and dataset[1] is None  # two crops of one file
    assert dataset.bad_files == ["train0.wav"]
    assert dataset[6] is None and dataset.bad_files == ["train0.wav", "train3.wav"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"damaged file 1, 2 allowed: {corpus.audio / 'train0.wav'}: ")
    assert warnings[1].startswith(f"damaged file 2, 2 allowed: {corpus.audio / 'train3.wav'}: ")
    batch = dataset.collater([dataset[index] for index in (0, 2, 6, 4)])
    assert batch["id"].tolist() == [2, 4] and batch["net_input"]["source"].shape == (2, CROP)
    damage(corpus, 1)
    with pytest.raises(MertError, match=r"train1.wav.*\(task.max_bad_files=2 damaged files are allowed\)"):
        dataset[2]


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_count_together(build, corpus, workers):
    dataset = build(max_bad_files=2)
    damage(corpus, 0, 2)
    ids = [batch["id"].tolist() for batch in batches(dataset, workers, size=1) if batch]
    assert sorted(ids) == [[1], [3], [4]] and dataset.bad_files == ["train0.wav", "train2.wav"]
    damage(corpus, 4)
    with pytest.raises(MertError) as caught:
        batches(dataset, workers, size=1)
    message = str(caught.value)
    assert message.startswith(f"{corpus.audio / 'train4.wav'}: cannot be opened as audio") and "\n" not in message
    assert message.endswith("(task.max_bad_files=2 damaged files are allowed)") and "Traceback" not in message


def test_damaged_targets_stop_a_worker_with_one_line(build, corpus):
    codes = [corpus.codes(row, length) for row, length in enumerate(LENGTHS)]
    codes[4][:, 1] = 16
    dataset = build(codes=codes, max_bad_files=9)
    with pytest.raises(MertError) as caught:
        batches(dataset, workers=1)
    assert str(caught.value).startswith(str(corpus.labels / "train.codes" / "shard-00000-of-00001.npy") + ": row 4: code 16 of")
    assert "\n" not in str(caught.value)
