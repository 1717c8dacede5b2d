"""All stages in order on made-up music, as a user gives them: manifest, teacher, labels, check, training, report."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import training_runs as runs

from mert_fairseq.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Music of the demo and two files that cannot be used."""
    place = tmp_path_factory.mktemp("pipeline")
    make = [sys.executable, str(EXAMPLES / "01_make_music.py"), str(place / "music"), "--pieces", "8", "--seconds", "9"]
    subprocess.run(make, check=True, env=runs.environment())
    soundfile.write(place / "music" / "nothing.wav", np.zeros(24000 * 4), 24000)
    (place / "music" / "broken.mp3").write_bytes(b"no sound")
    return place


def test_pipeline(place, capsys):
    def mert(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    manifest, teacher, labels, run = (place / name for name in ("manifest", "teacher", "labels", "run"))
    summary = mert("manifest", place / "music", manifest, "--valid-percent", 40)
    assert "10 files found" in summary and "rejected: silent 1" in summary and "rejected: unreadable 1" in summary
    assert "perplexity" in mert("teacher", "fit", "rvqvae", manifest, teacher, "--updates", 2)
    mert("labels", "encodec", manifest, labels, "--weights", teacher, "--nshard", 2)
    mert("labels", "cqt", manifest, labels)
    checked = [line.split() for line in mert("labels", "check", manifest, labels).splitlines()[1:]]
    assert [row[0] for row in checked] == ["train.cqt", "train.encodec", "valid.cqt", "valid.encodec"]
    assert all(row[5] == "0" for row in checked)  # broken
    sizes = {path.stat().st_mtime_ns for path in labels.rglob("*.npy")}
    assert "0 shards written, 2 were there" in mert("labels", "encodec", manifest, labels, "--weights", teacher, "--nshard", 2)
    assert {path.stat().st_mtime_ns for path in labels.rglob("*.npy")} == sizes
    for cqt in ("cqt", "null"):  # from the store, and computed as training runs
        folder = run.with_name(f"run_{cqt}")
        settings = ["optimization.max_update=12", "dataset.validate_interval_updates=6", f"task.cqt_labels={cqt}"]
        result = runs.train(place, folder, *settings)
        assert result.returncode == 0, result.stderr[-2000:]
    table = mert("report", place / "run_cqt")
    assert "update 6 -> 12" in table and "CQT error" in table and (place / "run_cqt" / "learning_curves.png").is_file()
    assert "Not shown" not in (place / "run_cqt" / "report.html").read_text(encoding="utf-8")
    assert (place / "run_cqt" / "report_pictures" / "spectrum.png").is_file()
    checkpoint, whole = place / "run_cqt" / "checkpoints" / "checkpoint_last.pt", place / "music" / "piece-000.flac"
    assert "AutoModel.from_pretrained" in mert("export", checkpoint, place / "mert")
    card = (place / "mert" / "README.md").read_text()
    assert "| updates | 12 |" in card and "| held-out loss (update 12) |" in card and "| training audio, hours |" in card
    mert("import", place / "mert", place / "imported.pt")
    settings = [f"checkpoint.finetune_from_model={place}/imported.pt", "optimization.max_update=1", "optimization.lr=[0.0]"]
    result = runs.train(place, place / "run_on", *settings)
    assert result.returncode == 0, result.stderr[-2000:]
    trained, went_on = (torch.load(path)["model"] for path in (checkpoint, place / "run_on" / "checkpoints" / "checkpoint_last.pt"))
    assert all(torch.equal(tensor, went_on[name]) for name, tensor in trained.items())
    for source in (checkpoint, place / "mert", place / "imported.pt"):
        mert("features", source, whole, "--out", place / f"features_{source.name}")
    arrays = [np.load(place / f"features_{name}" / f"{whole.name}.npy") for name in (checkpoint.name, "mert", "imported.pt")]
    assert all(np.array_equal(array, arrays[0]) for array in arrays) and np.isfinite(arrays[0]).all()
