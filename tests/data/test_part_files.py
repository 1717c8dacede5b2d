"""Part files: a name per writer, and which of them are taken away."""

import os
import socket
import time

import pytest

from mert_fairseq.data.part_files import ABANDONED_S, part_path, remove_abandoned


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


def test_a_folder_that_is_not_there(tmp_path):
    remove_abandoned(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []  # not made either
