"""Damaged shards and descriptions of shards: opening their store is refused, with the mend."""

import re

import numpy as np
import pytest
from stored_targets import MAKE_AGAIN, edit_json, refusal

from mert_fairseq.data.shard import read_info, shard_path
from mert_fairseq.errors import MertError


def truncate(path, num_bytes):
    content = path.read_bytes()
    path.write_bytes(content[:num_bytes])


def remove_description(path):
    path.with_suffix(".json").unlink()


def remove_both(path):
    path.unlink()
    remove_description(path)


def save(convert):
    return lambda path: np.save(path, convert(np.load(path)))


#: What is done to the array's file, which of the two files is named, and what is said of it.
DAMAGE = {
    "array and description missing": (remove_both, ".json", "missing; make the shard with `mert labels`"),
    "description missing": (remove_description, ".json", "missing; make the shard with `mert labels`"),
    "array missing": (lambda path: path.unlink(), ".npy", f"missing; {MAKE_AGAIN}"),
    "a byte missing": (lambda path: truncate(path, -1), ".npy", f"truncated or damaged.*; delete it and {MAKE_AGAIN}"),
    "half missing": (lambda path: truncate(path, path.stat().st_size // 2), ".npy", f"truncated.*; delete it and {MAKE_AGAIN}"),
    "header cut": (lambda path: truncate(path, 60), ".npy", f"truncated.*; delete it and {MAKE_AGAIN}"),
    "empty": (lambda path: truncate(path, 0), ".npy", f"truncated.*; delete it and {MAKE_AGAIN}"),
    "not an array": (lambda path: path.write_bytes(b"PK" * 500), ".npy", f"truncated.*; delete it and {MAKE_AGAIN}"),
    "a pickle": (save(lambda array: array.astype(object)), ".npy", f"truncated or damaged.*; delete it and {MAKE_AGAIN}"),
    "int16": (save(lambda array: array.astype(np.int16)), ".npy", f"int16, its JSON says .* uint16; delete it and {MAKE_AGAIN}"),
    "other byte order": (save(lambda array: array.astype(">u2")), ".npy", f"its JSON says .* uint16; delete it and {MAKE_AGAIN}"),
    "a frame missing": (save(lambda array: array[1:]), ".npy", f"its JSON says.*; delete it and {MAKE_AGAIN}"),
    "transposed": (save(lambda array: array.T), ".npy", f"its JSON says.*; delete it and {MAKE_AGAIN}"),
    "a codebook too many": (save(lambda array: array[:, [0, 1, 1]]), ".npy", f"its JSON says.*; delete it and {MAKE_AGAIN}"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("shard", [0, 1])
def test_a_damaged_shard_is_named_with_the_mend(corpus, manifest, damage, shard):
    folder = corpus.store(manifest, num_shards=3)
    path = shard_path(folder, shard, 3)
    apply, suffix, message = DAMAGE[damage]
    apply(path)
    assert re.fullmatch(re.escape(f"{path.with_suffix(suffix)}: ") + ".*" + message, refusal(folder, manifest))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", "{}", '{"kind": "codes"}', "\x00\xff", '{"format": "mert-target-store", "version": 1}'],
)
def test_a_garbage_description(corpus, manifest, text):
    folder = corpus.store(manifest, num_shards=3)
    side = shard_path(folder, 1, 3).with_suffix(".json")
    side.write_bytes(text.encode("latin-1"))
    message = refusal(folder, manifest)
    assert message.startswith(f"{side}: not the description of a shard (")
    assert message.endswith("; delete it and run `mert labels` again")


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": None},
        {"frames": 7},
        {"frames": ["10", "21"]},
        {"frames": [10.5, 20.5]},
        {"frames": [-10, 41]},
        {"rows": None},
        {"rows": [2]},
        {"rows": [2, "4"]},
        {"width": "2"},
        {"kind": "words"},
        {"kind": ["codes"]},
        {"num_classes": None},
        {"num_classes": [1000]},
        {"num_classes": [1000, "16"]},
    ],
)
def test_a_description_of_the_wrong_types(corpus, manifest, changes):
    folder = corpus.store(manifest, num_shards=3)
    path = shard_path(folder, 1, 3)
    edit_json(path, **changes)
    message = refusal(folder, manifest)
    assert message.startswith(f"{path.with_suffix('.json')}: not the description of a shard (")
    assert message.endswith(f"; delete it and {MAKE_AGAIN}")


@pytest.mark.parametrize("changes", [{"version": 2}, {"version": 0}, {"format": "other"}])
def test_another_format(corpus, manifest, changes):
    folder = corpus.store(manifest, num_shards=2)
    path = shard_path(folder, 1, 2)
    edit_json(path, **changes)
    message = refusal(folder, manifest)
    assert message.startswith(f"{path.with_suffix('.json')}: format {changes.get('format', 'mert-target-store')!r} version")
    assert "this program reads 'mert-target-store' version 1" in message and message.endswith(MAKE_AGAIN)


def test_a_description_that_is_a_folder(tmp_path):
    (tmp_path / "shard-00000-of-00001.json").mkdir()
    with pytest.raises(MertError, match="shard-00000-of-00001.json: .*Is a directory"):
        read_info(shard_path(tmp_path, 0, 1))
