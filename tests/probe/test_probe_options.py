"""Options of `mert probe` are judged before the data is, which may take long."""

import pytest

from mert_fairseq.cli.main import main


@pytest.mark.parametrize(
    "option, value, said",
    [
        ("--rates", "-1", "--rates -1: more than 0 and less than 1 allowed"),
        ("--rates", "nan", "--rates nan: more than 0 and less than 1 allowed"),
        ("--layers", "5", "--layers 5: 0 allowed, of this model's hidden states"),
        ("--layers", "all", "--layers all: 0 allowed, of this model's hidden states"),
        ("--seeds", "-3", "--seeds -3: different numbers from 0 on allowed"),
        ("--pretrained-on", "/nope.tsv", "--pretrained-on /nope.tsv: the train.tsv of the model's training wanted"),
    ],
)
def test_options_are_judged_before_the_data_is(option, value, said, tmp_path, capsys):
    """The data set is not there at all; neither is anything left behind."""
    command = ["probe", "GTZAN", "--model", "logmel", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    assert main([*command, "--cache", str(tmp_path / "cache"), option, value]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not list(tmp_path.iterdir())


def test_all_layers_that_a_model_has_are_allowed(tmp_path, capsys):
    command = ["probe", "GTZAN", "--model", "random:mert_tiny", "--data", str(tmp_path / "none"), "--layers"]
    for value, said in (("all", "none: no such folder"), ("9", "0 to 2, or all allowed, of this model's hidden states")):
        assert main([*command, value]) == 1
        assert said in capsys.readouterr().err
