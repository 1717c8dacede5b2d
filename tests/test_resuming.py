"""Choosing a checkpoint, and keeping the order of samples where the number of processes changes."""

from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from mert_fairseq.errors import MertError
from mert_fairseq.resume import (
    MARKER,
    RESETS,
    SAVED_FILE,
    begins_elsewhere,
    check_beginning,
    choose_checkpoint,
    has_own_checkpoints,
    keep_order,
    mark_saved,
)


def save(path):
    torch.save({"model": {"weight": torch.zeros(1000)}}, path)


def cut(path):
    path.write_bytes(path.read_bytes()[:500])


@pytest.fixture
def folder(tmp_path):
    for name in ("checkpoint_last.pt", "checkpoint_1_90.pt", "checkpoint_2_100.pt", "checkpoint_best.pt", "crash.pt"):
        save(tmp_path / name)
    mark_saved(str(tmp_path), 100)
    return tmp_path


def choose(folder):
    return choose_checkpoint(str(folder / "checkpoint_last.pt"), str(folder)).rsplit("/", 1)[1]


def test_the_last_is_taken(folder):
    assert choose(folder) == "checkpoint_last.pt"


def test_a_first_start_has_none(tmp_path):
    assert choose(tmp_path) == "checkpoint_last.pt" and choose_checkpoint(str(tmp_path / "no" / "checkpoint_last.pt"), str(tmp_path / "no"))


@pytest.mark.parametrize("spoil", [cut, lambda path: path.unlink(), lambda path: path.write_bytes(b"")], ids=["cut", "gone", "empty"])
def test_the_newest_whole_one_is_next(folder, spoil, caplog):
    spoil(folder / "checkpoint_last.pt")
    assert choose(folder) == "checkpoint_2_100.pt"
    assert "checkpoint_last.pt" in caplog.text and "going on from checkpoint_2_100.pt" in caplog.text
    cut(folder / "checkpoint_2_100.pt")
    assert choose(folder) == "checkpoint_1_90.pt"
    assert (folder / "checkpoint_2_100.pt").exists()


def test_updates_are_numbers_not_words(folder):
    (folder / "checkpoint_last.pt").unlink()
    assert choose(folder) == "checkpoint_2_100.pt"  # not ..._90


def test_when_nothing_is_whole_it_says_so(folder):
    for path in folder.glob("checkpoint_*_*.pt"):
        path.unlink()
    cut(folder / "checkpoint_last.pt")
    with pytest.raises(MertError, match="truncated.*put a checkpoint back, or empty the folder"):
        choose(folder)
    (folder / "checkpoint_last.pt").unlink()
    with pytest.raises(MertError, match="update 100 was saved here and no checkpoint is left"):
        choose(folder)
    (folder / MARKER).unlink()
    assert choose(folder) == "checkpoint_last.pt"


def test_one_that_is_named_is_taken_or_missed(folder, tmp_path):
    other = str(folder / "checkpoint_1_90.pt")
    assert choose_checkpoint(other, str(folder)) == other
    with pytest.raises(MertError, match="nowhere.pt: no such checkpoint"):
        choose_checkpoint(str(tmp_path / "nowhere.pt"), str(folder))


@pytest.mark.parametrize(
    "changes,restarts,wanted",
    [
        ({}, 0, False),
        ({"restore_file": "/elsewhere/checkpoint_last.pt"}, 0, True),
        ({"finetune_from_model": "/elsewhere/model.pt"}, 0, True),
        ({"continue_once": "/elsewhere/model.pt"}, 0, True),
        ({"restore_file": "OWN/checkpoint_1_90.pt"}, 0, False),  # a step back that the user wants
        ({"restore_file": "OWN/checkpoint_1_90.pt"}, 1, True),  # but once
    ],
)
def test_what_a_run_begins_from_is_for_its_first_start(folder, monkeypatch, changes, restarts, wanted):
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    defaults = {"restore_file": "checkpoint_last.pt", "finetune_from_model": None, "continue_once": None, "save_dir": str(folder)}
    changes = {key: value.replace("OWN", str(folder)) for key, value in changes.items()}
    assert begins_elsewhere(SimpleNamespace(**{**defaults, **changes})) == wanted
    assert has_own_checkpoints(str(folder)) and not has_own_checkpoints(str(folder / "new"))


@pytest.mark.parametrize(
    "changes,said",
    [
        ({"finetune_from_model": "missing.pt"}, "finetune_from_model=missing.pt: no such checkpoint"),
        ({"finetune_from_model": "OWN"}, "no such checkpoint"),  # a folder
        ({"restore_file": "OWN/checkpoint_1_90.pt"}, "with checkpoint.restore_file=/"),
        ({"reset_dataloader": True}, "with checkpoint.reset_dataloader: one of them"),
        ({"finetune_from_model": None, "reset_dataloader": True}, None),
        ({}, None),
    ],
)
def test_a_beginning_that_cannot_be_is_refused(folder, changes, said):
    cfg = {"finetune_from_model": "OWN/checkpoint_best.pt", "restore_file": "checkpoint_last.pt", **dict.fromkeys(RESETS, False), **changes}
    cfg = {key: value.replace("OWN", str(folder)) if isinstance(value, str) else value for key, value in cfg.items()}
    if said is None:
        return check_beginning(OmegaConf.create(cfg))
    with pytest.raises(MertError, match=said):
        check_beginning(OmegaConf.create(cfg))


def test_what_was_saved_is_told_where_a_batch_script_looks(tmp_path, monkeypatch):
    monkeypatch.setenv(SAVED_FILE, str(tmp_path / "told"))
    mark_saved(str(tmp_path), 7)
    assert (tmp_path / "told").read_text() == (tmp_path / MARKER).read_text() == '{"num_updates": 7}'


def config(processes, *update_freq):
    return {"distributed_training": {"distributed_world_size": processes}, "optimization": {"update_freq": list(update_freq)}}


@pytest.mark.parametrize(
    "theirs,ours,wanted",
    [
        (config(2, 1), config(2, 4), 12),  # the same processes: fairseq's own affair
        (config(2, 1), config(1, 2), 24),
        (config(1, 4), config(4, 1), 3),
        (config(8, 2), config(4, 4), 24),
        ({}, config(2, 1), None),
    ],
)
def test_batches_seen_stay_seen(theirs, ours, wanted):
    position = {"epoch": 3, "iterations_in_epoch": 12}
    if wanted is None:
        with pytest.raises(MertError, match="of 1 processes and 1 batches per update, this run would take 2"):
            keep_order(position, theirs, ours, accept=False)
    else:
        keep_order(position, theirs, ours, accept=False)
        assert position == {"epoch": 3, "iterations_in_epoch": wanted}


@pytest.mark.parametrize(
    "theirs,ours,mend",
    [
        (config(8, 1), config(2, 1), "set optimization.update_freq=[4] to keep"),
        (config(2, 1), config(3, 1), "take another number of processes to keep"),
        (config(2, 8, 1), config(1, 8), "set optimization.update_freq=[2] to keep"),  # of the third epoch
    ],
)
def test_another_batch_is_refused_or_accepted(theirs, ours, mend):
    position = {"epoch": 3, "iterations_in_epoch": 12}
    with pytest.raises(MertError) as refusal:
        keep_order(position, theirs, ours, accept=False)
    assert mend in str(refusal.value) and "task.accept_new_order=true" in str(refusal.value)
    assert position["iterations_in_epoch"] == 12
    keep_order(position, theirs, ours, accept=True)
    seen = 12 * theirs["distributed_training"]["distributed_world_size"]
    assert position["iterations_in_epoch"] * ours["distributed_training"]["distributed_world_size"] in range(seen - 2, seen + 1)
