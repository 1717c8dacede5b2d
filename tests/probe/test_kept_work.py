"""What a probe has finished is kept whole, shared between processes, and not done again."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from made_up_task import QUICK, TELLING, make_data, probed

from mert_fairseq.errors import MertError
from mert_fairseq.probe import grid as grid_module
from mert_fairseq.probe import probing
from mert_fairseq.probe.grid import PointScore, make_grid, search
from mert_fairseq.probe.kept_work import KeptWork
from mert_fairseq.probe.probing import GridSettings


@pytest.fixture
def counted(monkeypatch):
    """Names of heads that were trained."""
    trained = []
    train = grid_module.train_head

    def counting(examples, settings, rate, seed):
        trained.append((examples.layer, rate, seed))
        return train(examples, settings, rate, seed)

    monkeypatch.setattr(grid_module, "train_head", counting)
    monkeypatch.setattr(probing, "train_head", counting)
    return trained


def test_a_killed_probe_goes_on_where_it_ended(tmp_path, monkeypatch, counted):
    whole = probed(tmp_path / "whole")
    everything = list(counted)
    assert len(everything) == len(set(everything[:8])) + 2 == 10
    counted.clear()
    write = KeptWork.write

    def killed(self, name, content, array=None):
        write(self, name, content, array)
        if len(counted) in (3, 9):
            raise KeyboardInterrupt

    monkeypatch.setattr(KeptWork, "write", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            probed(tmp_path / "killed")
    monkeypatch.setattr(KeptWork, "write", write)
    parts = probed(tmp_path / "killed")
    assert counted == everything  # no head twice
    assert (parts.scores, parts.chosen, parts.seeds) == (whole.scores, whole.chosen, whole.seeds)
    assert parts.predictions_sha256 == whole.predictions_sha256
    probed(tmp_path / "killed")
    assert counted == everything


def test_more_seeds_and_rates_are_added_to_what_is_there(tmp_path, counted):
    probed(tmp_path, grid=GridSettings(layers=(TELLING,), rates=(1e-2,), seeds=(1,)))
    counted.clear()
    results = probed(tmp_path, grid=GridSettings(layers=(TELLING,), rates=(1e-3, 1e-2), seeds=(1, 2)))
    assert counted[0] == (TELLING, 1e-3, 1) and (TELLING, results.chosen["rate"], 2) in counted
    assert (TELLING, 1e-2, 1) not in counted and len(results.seeds) == 2


def test_work_of_other_settings_is_refused(tmp_path):
    probed(tmp_path, grid=GridSettings(layers=(0,), rates=(1e-2,), seeds=(1,)))
    with pytest.raises(MertError, match=r'begun with data "\w+\.*, now "\w+\.*; .*remove this one to begin anew'):
        probed(tmp_path, data=make_data("classes", seed=3))
    with pytest.raises(MertError, match='begun with options {}, now {"tolerance": 0.02}'):
        probed(tmp_path, options={"tolerance": 0.02})


class Nothing:
    """Data whose examples are only named."""

    num_layers = 3

    def of_layer(self, layer):
        return layer


def test_two_processes_share_the_work(tmp_path, monkeypatch):
    trained = []

    def train(examples, point, settings, seed):
        trained.append(point)
        time.sleep(0.02)
        return PointScore(point.layer, point.rate, 0.5, "mean", 1, 1, 0.02)

    monkeypatch.setattr(grid_module, "_train_point", train)
    points, found, told = make_grid(3, rates=(1e-3, 1e-2)), [], []
    progress = lambda done, total: told.append((done, total))  # noqa: E731
    work = lambda: found.append(search(Nothing(), points, QUICK, 1, KeptWork(tmp_path, {"a": 1}), progress))  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, trained)) == sorted(map(str, points))  # each of them once
    assert [[one.point for one in scores] for scores in found] == [points] * 2 and (10, 10) in told


def test_what_a_killed_process_held_is_free(tmp_path):
    work = KeptWork(tmp_path, {})
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        with KeptWork(tmp_path, {}).claimed("piece"):
            os.write(tell, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    with work.claimed("piece", wait=False) as ours:
        assert not ours
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with work.claimed("piece", wait=False) as ours:
        assert ours
    assert work.read("piece") is None


def test_a_piece_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    work = KeptWork(tmp_path, {})
    with pytest.raises(ValueError):
        work.write("piece", {"value": float("nan")}, np.ones(3))
    assert work.read("piece") is None
    work.write("piece", {"value": 1.0}, np.ones(3))
    assert work.read("piece") == {"value": 1.0} and work.read_array("piece").tolist() == [1, 1, 1]
    assert not list(tmp_path.glob("*.part"))
    assert work.read("settings") == {}
    with pytest.raises(MertError, match="cannot be made"):
        KeptWork(tmp_path / "settings.json", {})


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path):
    import resource

    work = KeptWork(tmp_path, {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(MertError, match="piece.npy: cannot be written .*; make room, and the same command goes on"):
            work.write("piece", {}, np.ones(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["settings.json", "settings.lock"]
