"""Checkpoints: damaged and hostile files are refused in one line and never run; a resumed run must be the same one."""

import io
import logging
import pickle
import random
import re
import tarfile
import zipfile
from argparse import Namespace

import pytest
import torch
from fairseq.data.dictionary import Dictionary
from torch import nn

import mert_fairseq  # noqa: F401  (allow-lists the classes that fairseq's checkpoints hold)
from mert_fairseq.checkpoints import check_resumable, read_checkpoint
from mert_fairseq.errors import MertError

SETTINGS = {
    "task": {"_name": "mert_pretraining", "labels": ["encodec"], "data": "/music"},
    "model": {"_name": "mert", "encoder_embed_dim": 4, "dropout": 0.1},
    "criterion": {"_name": "mert", "cqt_weight": 1.0},
    "optimization": {"lr": [0.0005], "max_update": 100},
    "common": {"seed": 1, "log_interval": 200},
}


class Network(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.encoder = nn.Linear(3, width)
        self.head = nn.Linear(width, 2)


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def settings(**changes):
    """SETTINGS with changes given as group__key=value."""
    copy = {group: dict(values) for group, values in SETTINGS.items()}
    for name, value in changes.items():
        group, key = name.split("__")
        copy[group][key] = value
    return copy


def content(width=4, **changes):
    return {"model": Network(width).state_dict(), "cfg": settings(**changes), "extra_state": {"epoch": 3}}


def save(path, state, old_style=False):
    torch.save(state, path, _use_new_zipfile_serialization=not old_style)
    return path


def refusal(path):
    with pytest.raises(MertError) as error:
        read_checkpoint(str(path))
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


@pytest.mark.parametrize("old_style", [False, True])
def test_reads_what_was_saved(tmp_path, old_style):
    state = content()
    found = read_checkpoint(str(save(tmp_path / "last.pt", state, old_style)))
    assert found["cfg"] == state["cfg"] and found["extra_state"] == {"epoch": 3}
    assert found["model"].keys() == state["model"].keys()
    assert all(found["model"][name].equal(tensor) for name, tensor in state["model"].items())


@pytest.mark.parametrize("old_style", [False, True])
def test_what_fairseq_keeps_beside_the_weights_is_fine(tmp_path, old_style):
    dictionary = Dictionary()
    dictionary.add_symbol("7")
    state = {**content(), "args": Namespace(arch="mert"), "task_state": {"dictionaries": [dictionary]}}
    found = read_checkpoint(str(save(tmp_path / "last.pt", state, old_style)))
    assert found["task_state"]["dictionaries"][0].symbols == dictionary.symbols and found["args"].arch == "mert"


def test_missing(tmp_path):
    assert refusal(tmp_path / "none.pt").endswith("no such checkpoint")


def test_a_folder(tmp_path):
    assert "a folder, a checkpoint wanted" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.99])
def test_truncated(tmp_path, share):
    path = save(tmp_path / "last.pt", content())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    text = refusal(path)
    assert "truncated or not a checkpoint" in text and text.endswith("put a whole one in its place")


def test_truncated_old_style(tmp_path):
    """Cut after any byte: torch's loader raises nearly every kind of error, all of them a refusal here."""
    path = save(tmp_path / "last.pt", content(), old_style=True)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refusal(path)


@pytest.mark.parametrize("start", [b"", b"\x80\x02", b"\x80\x02}", b"PK\x03\x04"])
def test_random_bytes(tmp_path, start):
    path, rng = tmp_path / "last.pt", random.Random(0)
    for _ in range(60):
        path.write_bytes(start + rng.randbytes(rng.randint(1, 300)))
        refusal(path)


def test_flipped_bytes_are_read_or_refused(tmp_path):
    """In a weight they cannot be seen; elsewhere nothing but a refusal may come of them."""
    path, rng = save(tmp_path / "last.pt", content(), old_style=True), random.Random(1)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(str(path))
        except MertError:
            refused += 1
    assert refused > 50


def zip_of_text():
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        archive.writestr("notes.txt", "not weights")
    return stream.getvalue()


def tar_of_nothing():
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w") as archive:
        archive.addfile(tarfile.TarInfo("notes.txt"))
    return stream.getvalue()


@pytest.mark.parametrize("data", [zip_of_text(), b"junk" + zip_of_text(), tar_of_nothing(), b"a text\n", b'{"model": {}}'])
def test_files_of_other_kinds(tmp_path, data):
    (tmp_path / "last.pt").write_bytes(data)
    assert "not a checkpoint" in refusal(tmp_path / "last.pt")


@pytest.mark.parametrize("state", [{"cfg": {}}, [1, 2], 3, {"model": None}, {"model": "weights"}, {"model": {"a.weight": 3}}])
def test_no_weights_in_it(tmp_path, state):
    assert refusal(save(tmp_path / "last.pt", state)).endswith("not a fairseq checkpoint (no weights under 'model')")


@pytest.mark.parametrize("place", ["instead of the weights", "beside them", "among them", "as the whole"])
@pytest.mark.parametrize("kind", ["zip", "old style", "pickle 2", "pickle 4"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, kind, place):
    made, path = tmp_path / "made", tmp_path / "last.pt"
    harm, good = Harm(made), content()
    state = {
        "instead of the weights": {**good, "model": harm},
        "beside them": {**good, "extra_state": {"harm": harm}},
        "among them": {**good, "model": {**good["model"], "harm": harm}},
        "as the whole": harm,
    }[place]
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(state, protocol=int(kind[-1])))
    else:
        save(path, state, old_style=kind == "old style")
    text = refusal(path)
    assert not made.exists()
    assert ("not a checkpoint" if kind == "pickle 4" else "refused, unread") in text  # torch's own loader reads protocol 2 only
    assert "open" in text or kind.startswith("pickle")


def test_the_harm_would_be_seen(tmp_path):
    function, arguments = Harm(tmp_path / "made").__reduce__()
    function(*arguments).close()
    assert (tmp_path / "made").exists()


def test_resume_with_code_in_the_checkpoint_is_refused_and_not_run(tmp_path):
    save(tmp_path / "last.pt", {**content(), "extra_state": Harm(tmp_path / "made")})
    with pytest.raises(MertError, match="refused, unread"):
        check_resumable(str(tmp_path / "last.pt"), Network(), settings())
    assert not (tmp_path / "made").exists()


# Resuming.


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="mert_fairseq")
    return lambda: [record.getMessage() for record in caplog.records]


def test_the_same_run_resumes_silently(tmp_path, warnings):
    check_resumable(str(save(tmp_path / "last.pt", content())), Network(), settings())
    assert warnings() == []


def test_another_width_is_refused_with_weights_and_settings(tmp_path, warnings):
    path = save(tmp_path / "last.pt", content(width=4))
    with pytest.raises(MertError) as error:
        check_resumable(str(path), Network(width=6), settings(model__encoder_embed_dim=6, optimization__lr=[0.1]))
    text = str(error.value)
    assert text.startswith(f"{path}: made with another configuration")
    assert "3 weights differ, first encoder.bias: (4,) there, (6,) here" in text
    assert "model.encoder_embed_dim 4 -> 6" in text and "lr" not in text
    assert "give that configuration or another checkpoint.save_dir" in text and "\n" not in text
    assert warnings() == []


def test_missing_and_surplus_weights_are_refused(tmp_path):
    path = save(tmp_path / "last.pt", content())
    for model, text in (
        (nn.Sequential(), "4 weights differ, first encoder.bias: (4,) there, None here; see its cfg"),
        (nn.ModuleDict({**dict(Network().named_children()), "cqt": nn.Linear(2, 5)}), "first cqt.bias: None there, (5,) here"),
    ):
        with pytest.raises(MertError, match=re.escape(text)):
            check_resumable(str(path), model, settings())


@pytest.mark.parametrize(
    "change, text",
    [
        ({"optimization__lr": [0.001]}, "optimization.lr [0.0005] -> [0.001]"),
        ({"model__dropout": 0.0}, "model.dropout 0.1 -> 0.0"),
        ({"criterion__cqt_weight": 60.0}, "criterion.cqt_weight 1.0 -> 60.0"),
        ({"task__data": "/elsewhere"}, "task.data /music -> /elsewhere"),
    ],
)
def test_a_changed_setting_is_said_and_allowed(tmp_path, warnings, change, text):
    check_resumable(str(save(tmp_path / "last.pt", content())), Network(), settings(**change))
    assert warnings() == [f"the run continues with changed settings: {text}"]


def test_settings_in_the_older_form_are_refused(tmp_path):
    """fairseq would take them for the checkpoint's settings, and what they name for its model."""
    path = save(tmp_path / "last.pt", {**content(), "args": Namespace(arch="hubert")})
    with pytest.raises(MertError, match=r"fairseq's older form \(args\)"):
        check_resumable(str(path), Network(), settings())


def test_all_changes_in_one_warning(tmp_path, warnings):
    path = save(tmp_path / "last.pt", content())
    check_resumable(str(path), Network(), settings(optimization__lr=[0.1], model__dropout=0.0))
    assert warnings() == ["the run continues with changed settings: model.dropout 0.1 -> 0.0; optimization.lr [0.0005] -> [0.1]"]


def test_settings_that_do_not_decide_are_not_mentioned(tmp_path, warnings):
    path = save(tmp_path / "last.pt", content())
    check_resumable(str(path), Network(), settings(common__log_interval=1))
    check_resumable(str(path), Network(), settings(model__new_setting=1))  # of a later version: nothing to compare it with
    assert warnings() == []


def test_a_checkpoint_without_settings_resumes(tmp_path, warnings):
    path = save(tmp_path / "last.pt", {"model": Network().state_dict(), "cfg": None})
    check_resumable(str(path), Network(), settings())
    assert warnings() == []
