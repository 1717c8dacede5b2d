"""What importing the package changes in fairseq."""

import shutil

import pytest
from fairseq.file_io import PathManager

import mert_fairseq  # noqa: F401


def test_a_checkpoint_is_replaced_whole(tmp_path):
    source, target = tmp_path / "checkpoint_1_5.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    assert PathManager.copy(str(source), str(target), overwrite=True)
    assert target.read_bytes() == b"new" and sorted(path.name for path in tmp_path.iterdir()) == [source.name, target.name]


def test_a_copy_that_breaks_off_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    source, target = tmp_path / "checkpoint_1_5.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"new")
    target.write_bytes(b"old")

    def half(from_path, to_path):
        with open(to_path, "wb") as out:
            out.write(b"n")
        raise OSError("no space")

    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(OSError):
        PathManager.copy(str(source), str(target), overwrite=True)
    assert target.read_bytes() == b"old"
