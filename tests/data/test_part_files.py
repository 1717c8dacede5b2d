"""Part files: a name per writer, whole files or none, and which part files are taken away."""

import os
import socket
import time

import pytest

from mert_fairseq.data.part_files import (
    ABANDONED_S,
    part_path,
    put_in_place,
    remove_abandoned,
    restore_replaced,
    write_whole,
    written_whole,
)
from mert_fairseq.errors import MertError


@pytest.fixture
def ended():
    """Number of a process that has ended."""
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    return process


def test_the_name_tells_machine_and_process(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node.cluster")
    assert part_path(tmp_path / "a.npy") == tmp_path / f".a.npy.node.cluster.{os.getpid()}.part"


def test_only_what_has_no_writer_is_removed(tmp_path, ended):
    host, shard = socket.gethostname(), tmp_path / "shard-00000-of-00002.npy"
    mine = part_path(shard)
    dead = mine.with_name(f".{shard.name}.{host}.{ended}.part")
    elsewhere = mine.with_name(f".{shard.name}.another.{ended}.part")
    old, nameless = mine.with_name(f".{shard.name}.another.1.part"), mine.with_name(f".{shard.name}.part")
    others = [shard, shard.with_suffix(".json"), tmp_path / f".notes.{host}.{ended}.part", tmp_path / "shard.part"]
    for path in (mine, dead, elsewhere, old, nameless, *others):
        path.touch()
    long_ago = time.time() - ABANDONED_S - 60
    os.utime(old, (long_ago, long_ago))
    os.utime(mine, (long_ago, long_ago))
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere, nameless, *others])


def test_a_writer_that_ended_and_was_not_asked_for_is_gone(tmp_path):
    """A killed process stays in the table until its parent asks how it ended; one whose parent was killed too, for some time."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    part = tmp_path / f".shard-0.npy.{socket.gethostname()}.{child}.part"
    part.touch()
    remove_abandoned(tmp_path)
    os.waitpid(child, 0)
    assert not part.exists()


def test_a_folder_that_is_not_there(tmp_path):
    remove_abandoned(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []  # not made either


def test_a_file_is_there_as_a_whole(tmp_path):
    path = tmp_path / "a.txt"
    with written_whole(path) as part:
        part.write_text("new")
        assert part == part_path(path) and not path.exists()
    with written_whole(path) as part:
        part.write_text("newer")
        assert path.read_text() == "new"
    assert path.read_text() == "newer" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_what_was_there_stays_where_the_writing_fails(tmp_path, fault):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(fault), written_whole(path) as part:
        part.write_text("half")
        raise fault
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def folder_of(path, content):
    path.mkdir()
    (path / "file").write_text(content)


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    path = tmp_path / "teacher"
    for content in ("old", "new"):
        with written_whole(path) as part:
            folder_of(part, content)
    assert (path / "file").read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_one_before(tmp_path, monkeypatch):
    path, replace = tmp_path / "teacher", os.replace
    folder_of(path, "old")

    def full(source, target):
        if source == part_path(path):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"), written_whole(path) as part:
        folder_of(part, "new")
    assert (path / "file").read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("host", ["", "another."])
@pytest.mark.parametrize("there", [False, True], ids=["missing", "there again"])
def test_a_folder_that_a_killed_writer_took_away_comes_back(tmp_path, ended, host, there):
    """Killed between the two renamings; or, where it is there, behind them."""
    path = tmp_path / "tea[c]her"
    folder_of(tmp_path / f".{path.name}.{host or socket.gethostname() + '.'}{ended}.part.replaced", "old")
    if there:
        folder_of(path, "new")
    restore_replaced(path)
    assert (path / "file").read_text() == ("new" if there else "old") and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_just_replaced_is_left_to_its_writer(tmp_path):
    before = part_path(tmp_path / "teacher").with_name(part_path(tmp_path / "teacher").name + ".replaced")
    folder_of(before, "old")
    restore_replaced(tmp_path / "teacher")
    assert list(tmp_path.iterdir()) == [before]


def test_a_file_written_piece_by_piece(tmp_path):
    path = tmp_path / "a.npy"
    part_path(path).write_text("all of it")
    put_in_place(path)
    assert path.read_text() == "all of it" and list(tmp_path.iterdir()) == [path]


def test_bytes_that_cannot_be_written_are_one_line(tmp_path):
    write_whole(tmp_path / "own" / "a.png", b"picture", "name another place", own_folder=True)
    assert (tmp_path / "own" / "a.png").read_bytes() == b"picture"
    for name, reason in (("nowhere/a.png", "No such file or directory"), ("own/a.png/b", "Not a directory")):
        place = tmp_path / name
        with pytest.raises(MertError) as error:
            write_whole(place, b"", "name another place")
        assert str(error.value) == f"{place}: cannot be written ({reason}); name another place"
