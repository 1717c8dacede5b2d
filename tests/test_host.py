"""What importing the package changes in fairseq."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from fairseq.file_io import PathManager

from mert_fairseq import host


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


@pytest.mark.parametrize("cuda", [False, True])
def test_a_cpu_gives_back_what_saving_took(monkeypatch, cuda):
    told = []
    monkeypatch.setattr(host, "give_back_freed_memory", lambda: told.append("given back"))
    save = host._mark(lambda trainer, filename, extra_state: told.append("saved") or filename)
    trainer = SimpleNamespace(cuda=cuda, is_data_parallel_master=False)
    assert save(trainer, "checkpoint_1_5.pt", {}) == "checkpoint_1_5.pt"
    assert told == ["saved"] if cuda else told == ["saved", "given back"]


@pytest.mark.parametrize("layerdrop", [0.0, 0.2])
def test_gradients_of_zeros_are_for_dropped_layers_alone(layerdrop):
    model = torch.nn.Module()
    model.frozen, model.encoder = torch.nn.Linear(2, 2), torch.nn.Module()
    model.encoder.layers, model.encoder.layerdrop = torch.nn.ModuleList([torch.nn.Linear(2, 2) for _ in range(2)]), layerdrop
    model.encoder.layers[0](torch.ones(1, 2)).sum().backward()
    before = model.encoder.layers[0].weight.grad.clone()
    host._fill_absent_gradients(model)
    assert model.frozen.weight.grad is None and torch.equal(model.encoder.layers[0].weight.grad, before)
    dropped = model.encoder.layers[1].weight.grad
    assert dropped is None if layerdrop == 0 else torch.equal(dropped, torch.zeros(2, 2))
