"""The sole right to a folder: kept from others, freed with its process, not kept by children, done without where there are no locks."""

import errno
import os
import signal
import time

import pytest

from mert_fairseq import folder_lock
from mert_fairseq.errors import MertError
from mert_fairseq.folder_lock import sole_use


@pytest.fixture
def start():
    """Forks a process that holds a folder; killed at the end if it still runs."""
    started = []

    def forked(folder, also=lambda: None):
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            try:
                with sole_use(folder, "wait"):
                    also()
                    os.write(write, b"has it")
                    time.sleep(60)
            finally:
                os._exit(1)
        started.append(process)
        assert os.read(read, 10) == b"has it"
        return process

    yield forked
    for process in started:
        kill(process)


def kill(process):
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def test_another_process_is_kept_out_until_the_first_ends(start, tmp_path):
    process = start(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(MertError, match=f"run: in use by process {process} on .*; give another folder"):
            with sole_use(tmp_path / "run", "give another folder"):
                pass
    kill(process)
    with sole_use(tmp_path / "run", "give another folder"):
        pass


def test_the_slurm_job_is_named(start, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    start(tmp_path)
    with pytest.raises(MertError, match="Slurm job 77; wait"):
        with sole_use(tmp_path, "wait"):
            pass


def test_another_is_waited_for(start, tmp_path, monkeypatch, caplog):
    process = start(tmp_path)
    monkeypatch.setattr(folder_lock.time, "sleep", lambda seconds: kill(process))
    with sole_use(tmp_path, "wait", wait_s=60):
        pass
    assert caplog.text.count("waiting for it") == 1


def test_children_of_a_killed_process_do_not_keep_its_folder(start, tmp_path):
    """As loader processes, which live on for seconds."""
    children = []

    def child():
        process = os.fork()
        if process == 0:
            time.sleep(60)
            os._exit(0)
        (tmp_path / "child").write_text(str(process))

    kill(start(tmp_path / "run", child))
    children.append(int((tmp_path / "child").read_text()))
    os.kill(children[0], 0)  # it lives
    try:
        with sole_use(tmp_path / "run", "wait"):
            pass
    finally:
        os.kill(children[0], signal.SIGKILL)


@pytest.fixture
def failing(monkeypatch):
    """Has one of the module's system calls fail with an error."""

    def fail(module, name, number):
        def call(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(module, name, call)

    return fail


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_done_without(tmp_path, failing, caplog, number):
    failing(folder_lock.fcntl, "lockf", number)
    with sole_use(tmp_path / "folder", "wait"):
        pass
    assert f"its file system has no locks ({os.strerror(number)})" in caplog.text


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_is_not_one_without_locks(tmp_path, failing, number):
    failing(folder_lock.fcntl, "lockf", number)
    with pytest.raises(MertError, match=r"folder/.lock: cannot be locked \("), sole_use(tmp_path / "folder", "wait"):
        pass


def test_a_lock_of_another_user_is_named(tmp_path, failing):
    (tmp_path / ".lock").touch()
    failing(folder_lock.os, "open", errno.EACCES)
    with pytest.raises(MertError, match=r"/.lock: cannot be opened .Permission denied.; .* have its owner let you write it"):
        with sole_use(tmp_path, "wait"):
            pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MertError, match="file/run: cannot be written .Not a directory."):
        with sole_use(tmp_path / "file" / "run", "wait"):
            pass
