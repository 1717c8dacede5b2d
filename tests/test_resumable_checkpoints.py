"""Checkpoints to go on from: a resumed run must be the same one."""

import logging
import re
from argparse import Namespace

import pytest
from saved_checkpoints import Network, content, save, settings
from torch import nn

from mert_fairseq.checkpoints import check_resumable
from mert_fairseq.errors import MertError


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
