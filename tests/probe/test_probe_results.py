"""Results are read as they were written and nothing else is."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_results import made_scored, write_task

from mert_fairseq.errors import MertError
from mert_fairseq.probe.results import read_results, read_run, read_scored

REPOSITORY = Path(__file__).parents[2]


def test_what_others_wrote_is_refused(tmp_path):
    (tmp_path / "results.json").write_bytes((REPOSITORY / "tests" / "benchmarks" / "results.json").read_bytes())
    with pytest.raises(MertError, match="not written by `mert probe`"):
        read_results(tmp_path)
    for text in ("[1, 2]", '{"format": "other"}'):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(MertError, match="not written by `mert probe`"):
            read_results(tmp_path)
    for content in (b"{", b"\xff\xfe"):
        (tmp_path / "results.json").write_bytes(content)
        with pytest.raises(MertError, match="cannot be read"):
            read_results(tmp_path)
    with pytest.raises(MertError, match="no results.json in it"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"version": 2}, "version 2, 1 wanted"),
        ({"scores": {}}, "does not hold together .'accuracy'.; remove it"),
        ({"seeds": [{"seed": 1}]}, "does not hold together"),
        ({"metrics": []}, "does not hold together"),
        ({"more": 1}, "does not hold together"),
        ({"scores": {"accuracy": {"mean": "x", "deviation": 0, "low": 0, "high": 1}}}, "does not hold together"),
        ({"chosen": "layer 7"}, "does not hold together"),
    ],
)
def test_results_that_were_changed_are_refused(tmp_path, change, message):
    write_task(tmp_path, "GTZAN", 0.5)
    path = tmp_path / "GTZAN" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(MertError, match=f"{path}: {message}"):
        read_results(tmp_path / "GTZAN")


def test_predictions_of_other_results_are_refused(tmp_path):
    write_task(tmp_path, "GTZAN", 0.5)
    write_task(tmp_path / "other", "GTZAN", 0.6)
    path = tmp_path / "GTZAN" / "predictions.npz"
    assert np.array_equal(read_scored(tmp_path / "GTZAN").estimates, made_scored("GTZAN", 0.5).estimates)
    path.write_bytes((tmp_path / "other" / "GTZAN" / "predictions.npz").read_bytes())
    with pytest.raises(MertError, match="not the predictions that results.json was written with"):
        read_scored(tmp_path / "GTZAN")
    path.unlink()
    with pytest.raises(MertError, match="predictions.npz: cannot be read"):
        read_scored(tmp_path / "GTZAN")


def test_a_run_is_of_one_encoder_and_has_a_task_once(tmp_path):
    write_task(tmp_path, "GTZAN", 0.5)
    write_task(tmp_path, "GS", 0.5, encoder="f" * 64)
    with pytest.raises(MertError, match="GS and GTZAN are of different encoders"):
        read_run(tmp_path)
    (tmp_path / "GTZAN").rename(tmp_path / "GTZAN2")
    write_task(tmp_path, "GTZAN", 0.5)
    with pytest.raises(MertError, match="a second results.json of GTZAN"):
        read_run(tmp_path)
