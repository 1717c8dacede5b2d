"""`mert probe toy`: the table of encoders, and what the difference between two of them is worth."""

import pytest

from mert_fairseq.cli.main import main
from mert_fairseq.probe.results import read_results
from mert_fairseq.probe.toy import corpus


@pytest.fixture
def small(monkeypatch):
    for split, clips in {"train": 120, "valid": 24, "test": 48}.items():
        monkeypatch.setitem(corpus.CLIPS, split, clips)


def test_log_mel_beats_random_weights_and_the_interval_says_so(small, tmp_path, capsys):
    command = ["probe", "toy", "--model", "logmel", "random:mert_tiny", "--dir", str(tmp_path), "--seeds", "1"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "| model | pitch (8) | family (11) | key (4) | tempo (20) | chord (17) | average |" in out
    (line,) = [line for line in out.splitlines() if line.startswith("logmel - random:mert_tiny: ")]
    low = float(line.split("interval ")[1].split()[0])
    assert low > 0
    made = read_results(tmp_path / "logmel" / "pitch").predictions_sha256
    assert main(command) == 0  # nothing is done again
    assert read_results(tmp_path / "logmel" / "pitch").predictions_sha256 == made


def test_scores_of_two_encoders_do_not_mix(small, tmp_path, capsys):
    command = ["probe", "toy", "--dir", str(tmp_path), "--seeds", "1", "--model"]
    assert main([*command, "logmel", "logmel"]) == 1
    assert "two of one name" in capsys.readouterr().err
    assert main([*command, "logmel"]) == 0
    (tmp_path / "logmel").rename(tmp_path / "random_mert_tiny")
    assert main([*command, "random:mert_tiny"]) == 1
    assert "holds scores of other encoder" in capsys.readouterr().err
