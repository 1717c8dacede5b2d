"""Sound shards of another task, manifest, division or teacher: opening their store is refused."""

import shutil

import pytest
from stored_targets import LENGTHS, MAKE_AGAIN, edit_json, refusal

from mert_fairseq.data.shard import shard_path, shard_rows


def test_another_frame_rate(corpus, manifest):
    folder = corpus.store(manifest, num_shards=2)
    message = refusal(folder, manifest, frame_rate=50.0)
    path = shard_path(folder, 0, 2)
    assert message.startswith(f"{path}: 75.0 frames per second, the task's label_rate is 50.0;") and message.endswith(MAKE_AGAIN)
    edit_json(shard_path(folder, 1, 2), frame_rate=50.0)
    assert refusal(folder, manifest).startswith(f"{shard_path(folder, 1, 2)}: 50.0 frames per second")


def test_another_kind(corpus, manifest):
    folder = corpus.store(manifest)
    message = refusal(folder, manifest, kind="cqt")
    assert message == f"{shard_path(folder, 0, 1)}: holds codes, cqt wanted; check task.labels and task.cqt_labels"


@pytest.mark.parametrize("row, shard", [(0, 0), (2, 1), (3, 1), (4, 2), (6, 2)])
def test_a_manifest_with_one_other_row(corpus, manifest, row, shard):
    """One sample more in one file: the shard that covers the row is stale, and no other."""
    folder = corpus.store(manifest, num_shards=3)
    lengths = list(LENGTHS)
    lengths[row] += 1
    rows = list(shard_rows(7, shard, 3))
    assert refusal(folder, corpus.manifest(lengths)) == (
        f"{shard_path(folder, shard, 3)}: hash of the manifest's rows {rows} differs: it belongs to another manifest; "
        f"delete the folder and {MAKE_AGAIN}"
    )


@pytest.mark.parametrize("lengths", [LENGTHS + (320,), LENGTHS[:-1], LENGTHS[:2]])
def test_a_manifest_of_more_or_fewer_rows(corpus, manifest, lengths):
    folder = corpus.store(manifest, num_shards=3)
    message = refusal(folder, corpus.manifest(lengths))
    assert message.startswith(str(folder)) and f"it belongs to another manifest; delete the folder and {MAKE_AGAIN}" in message


def test_rows_in_another_order(corpus, manifest):
    folder = corpus.store(manifest)
    assert "it belongs to another manifest" in refusal(folder, corpus.manifest(LENGTHS[::-1]))


def test_shards_of_two_divisions(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    corpus.store(manifest, num_shards=2)
    message = refusal(folder, manifest)
    assert message.startswith(f"{folder}: shards of 2 different divisions (['00002', '00003'])") and "--nshard" in message


def test_a_shard_under_another_s_name(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    for suffix in (".npy", ".json"):
        shutil.copy(shard_path(folder, 0, 3).with_suffix(suffix), shard_path(folder, 1, 3).with_suffix(suffix))
    message = f"{shard_path(folder, 1, 3)}: covers rows [0, 2] with frames of 2, this manifest needs [2, 4]: it belongs"
    assert refusal(folder, manifest).startswith(message)


def test_frames_of_another_number_of_rows(corpus, manifest):
    path = shard_path(corpus.store(manifest, num_shards=3), 1, 3)
    edit_json(path, frames=[41])  # as many as its two rows have together
    assert refusal(path.parent, manifest).startswith(f"{path}: covers rows [2, 4] with frames of 1, this manifest needs [2, 4]")


@pytest.mark.parametrize(
    "key, value",
    [
        ("teacher", "another"),
        ("weights_sha256", "cd" * 32),
        ("settings", {"tones": [1, 3], "gain": 0.5}),
        ("num_classes", [1000, 17]),
    ],
)
def test_shards_of_two_teachers(corpus, manifest, key, value):
    folder = corpus.store(manifest, num_shards=3)
    path = shard_path(folder, 1, 3)
    edit_json(path, **{key: value})
    assert refusal(folder, manifest) == f"{path}: {key} differs from the first shard's; make all shards with one teacher"


def test_a_folder_without_targets(corpus, manifest, tmp_path):
    folder = tmp_path / "train.codes"
    assert refusal(folder, manifest).startswith(f"{folder}: no such folder of targets; make it with `mert labels`")
    folder.mkdir()
    (folder / "shard-00000-of-00001.npy").touch()  # its JSON, written last, is not there: the shard is not complete
    assert refusal(folder, manifest).startswith(f"{folder}: no complete shard; run `mert labels`")
    (folder / "shard-00000-of-many.json").touch()
    assert refusal(folder, manifest).startswith(f"{folder}: shards of")
