"""Checkpoints and logs on a disk that is full, and what killed runs left."""

import errno
import logging
import os
import resource
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from omegaconf import OmegaConf

import mert_fairseq  # noqa: F401  puts its own in place of fairseq's
from mert_fairseq import checkpoint_files
from mert_fairseq.checkpoint_files import full_log_stops, remove_half_written
from mert_fairseq.errors import MertError
from mert_fairseq.launch import start


@pytest.fixture
def full_disk():
    """A disk with room for 10,000 bytes per file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so_in_one_line(tmp_path, full_disk):
    path = tmp_path / "checkpoint_last.pt"
    checkpoint_utils.torch_persistent_save({"model": torch.ones(5)}, str(path))
    before = path.read_bytes()
    with pytest.raises(MertError, match="checkpoint_last.pt: cannot be written .File too large.; make room, and the same command goes on"):
        checkpoint_utils.torch_persistent_save({"model": torch.zeros(5000)}, str(path))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_copy_on_a_full_disk_leaves_the_one_before(tmp_path):
    source, target = tmp_path / "checkpoint_1_5.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(bytes(20_000))
    target.write_bytes(b"before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(MertError, match="checkpoint_last.pt: cannot be written"):
            PathManager.copy(str(source), str(target), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert target.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 2


def failing(monkeypatch, numbers):
    """Has the disk fail once with each of these errors; the pauses that are made."""
    replace, pauses = os.replace, []

    def fail(source, target):
        if numbers:
            raise OSError(numbers[0], os.strerror(numbers.pop(0)))
        replace(source, target)

    monkeypatch.setattr(checkpoint_files.os, "replace", fail)
    monkeypatch.setattr(checkpoint_files.time, "sleep", pauses.append)
    return pauses


WRITE = {
    "save": lambda path: checkpoint_utils.torch_persistent_save({"model": torch.ones(5)}, str(path)),
    "copy": lambda path: PathManager.copy(__file__, str(path), overwrite=True),
}


@pytest.mark.parametrize("write", WRITE.values(), ids=WRITE)
def test_a_fault_that_passes_is_waited_for(tmp_path, monkeypatch, caplog, write):
    path = tmp_path / "checkpoint_last.pt"
    write(path)
    whole = path.read_bytes()
    pauses = failing(monkeypatch, [errno.ESTALE, errno.EIO])
    write(path)
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path] and len(pauses) == 2
    assert caplog.text.count("checkpoint_last.pt: could not be written") == 2


@pytest.mark.parametrize("numbers, tries", [([errno.EIO] * 9, 3), ([errno.ENOSPC], 1), ([errno.ESTALE, errno.EROFS], 2)])
def test_a_fault_that_stays_is_one_line(tmp_path, monkeypatch, numbers, tries):
    path = tmp_path / "checkpoint_last.pt"
    path.write_bytes(b"before")
    pauses = failing(monkeypatch, numbers)
    with pytest.raises(MertError, match="checkpoint_last.pt: cannot be written"):
        WRITE["save"](path)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path] and len(pauses) == tries - 1


def test_a_disk_that_became_read_only_is_one_line(tmp_path, monkeypatch):
    def read_only(path, missing_ok):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", read_only)
    for number in (errno.EROFS, errno.ENOSPC):  # the first fault is what is told
        failing(monkeypatch, [number])
        with pytest.raises(MertError, match=f"cannot be written .{os.strerror(number)}."):
            WRITE["save"](tmp_path / "checkpoint_last.pt")


def test_what_is_no_fault_of_the_disk_stays_what_it_is(tmp_path):
    with pytest.raises(Exception) as caught:
        checkpoint_utils.torch_persistent_save({"model": lambda: None}, str(tmp_path / "checkpoint1.pt"))
    assert not isinstance(caught.value, MertError) and not list(tmp_path.iterdir())


def test_what_killed_runs_left_half_written_goes(tmp_path):
    for name in ("checkpoint_last.pt", "checkpoint_last.pt.part", "checkpoint_1_5.pt.part", "notes.part"):
        (tmp_path / name).touch()
    remove_half_written(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_last.pt", "notes.part"]


@pytest.fixture
def full_log(tmp_path, full_disk):
    """Logs more than there is room for."""
    logger, handler = logging.getLogger("full"), logging.FileHandler(tmp_path / "train.log")
    logger.addHandler(handler)
    yield lambda: logger.error("x" * 20_000)
    logger.removeHandler(handler)
    handler.stream = None


def test_a_log_file_that_cannot_be_written_stops_with_one_line(full_log):
    with full_log_stops(), pytest.raises(MertError, match="train.log: cannot be written .File too large.; make room"):
        full_log()


def test_a_log_file_that_cannot_be_written_stops_training_alone(full_log, monkeypatch):
    """Another program that imports the package, or has trained, loses lines as it would without."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    full_log()
    with full_log_stops():
        pass
    full_log()


def test_training_is_stopped_by_its_log(full_log, monkeypatch):
    """In each of its processes."""
    monkeypatch.setattr(start.interruption, "listen", lambda starter: None)
    monkeypatch.setattr(start, "prepare_cpu", lambda cfg: None)
    monkeypatch.setattr(torch.multiprocessing, "set_start_method", lambda method, force: None)
    cfg = OmegaConf.create({"distributed_training": {"distributed_no_spawn": True, "distributed_rank": 1}, "common": {"cpu": True}})
    with pytest.raises(MertError, match="train.log: cannot be written"):
        start.run(lambda cfg: full_log(), cfg)
