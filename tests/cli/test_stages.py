"""The stages of `mert` end to end, each in this process."""

import json
import shutil

import numpy as np
import pytest
import torch

from mert_fairseq.data.audio import read_audio
from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import num_cqt_frames
from mert_fairseq.teachers.cqt import FastCQT
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings

pytestmark = pytest.mark.usefixtures("root_logger")


def test_cqt_of_two_files_end_to_end(mert, flacs):
    code, out, err = mert("labels", "cqt", flacs.manifests, flacs.labels)
    assert (code, err) == (0, [])
    told = "1 shards written, 0 were there; 336 wide, 0.00 h"
    assert out == [f"{flacs.labels}/{split}.cqt: {told}" for split in ("train", "valid")]
    for split in ("train", "valid"):
        manifest = read_manifest(flacs.manifests / f"{split}.tsv")
        store = TargetStore(flacs.labels / f"{split}.cqt", manifest, "cqt", 75.0)
        wave = read_audio(flacs.audio / f"{split}.flac")
        assert store.num_frames.tolist() == [num_cqt_frames(len(wave))] == [38] and store.width == 336
        magnitudes = FastCQT()(torch.from_numpy(wave)[None])[0].numpy()
        np.testing.assert_allclose(store.read(0, 0, 38), magnitudes, rtol=1e-3, atol=1e-3 * magnitudes.max())

    code, out, err = mert("labels", "check", flacs.manifests, flacs.labels)
    assert (code, err) == (0, [])
    rows = [[f"{split}.cqt", "cqt", "x", "336", "1", "0", "0", "0.00"] for split in ("train", "valid")]
    assert out[0].split() == ["store", "holds", "shards", "broken", "empty", "rows", "hours"]
    assert [line.split() for line in out[1:]] == rows

    code, out, err = mert("labels", "cqt", flacs.manifests, flacs.labels, "--splits", "valid")
    assert (code, err) == (0, [])
    assert out == [f"{flacs.labels}/valid.cqt: 0 shards written, 1 were there; 336 wide, 0.00 h"]

    path = flacs.labels / "valid.cqt" / "shard-00000-of-00001.npy"
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = mert("labels", "check", flacs.manifests, flacs.labels)
    assert (code, len(err)) == (1, 1) and err[0].startswith(f"mert: 1 faults: {path}: truncated or damaged")
    assert [line.split()[5] for line in out[1:]] == ["0", "1"]

    code, out, err = mert("labels", "check", flacs.manifests, flacs.labels, "--repair")
    assert (code, err) == (0, []) and out[3].startswith(f"  {path}: truncated") and out[4] == "  1 shards made again"
    assert out[5].split() == rows[1]
    assert mert("labels", "check", flacs.manifests, flacs.labels)[0] == 0


@pytest.fixture
def teacher(tmp_path):
    """A tiny fitted teacher: K = 2, V = 8."""
    torch.manual_seed(0)
    RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=2, codebook_size=8)).save(tmp_path / "teacher")
    return tmp_path / "teacher"


def test_codes_of_a_fitted_teacher_end_to_end(mert, flacs, teacher):
    arguments = ["labels", "encodec", flacs.manifests, flacs.labels, "--weights", teacher, "--name", "mine", "--threads", 1]
    code, out, err = mert(*arguments)
    assert (code, err) == (0, [])
    assert out[1] == f"{flacs.labels}/valid.mine: 1 shards written, 0 were there; 2 wide, 0.00 h"
    code, out, err = mert("labels", "check", flacs.manifests, flacs.labels)
    assert code == 0 and [line.split()[0] for line in out[1:]] == ["train.mine", "valid.mine"]


def test_damaged_files_stop_or_are_allowed(mert, flacs, teacher):
    (flacs.audio / "train.flac").write_bytes(b"no audio")
    arguments = ["labels", "encodec", flacs.manifests, flacs.labels, "--weights", teacher]
    code, out, err = mert(*arguments)
    assert code == 1 and err[0].startswith("damaged files: row 0: ") and err[1] == "shard-00000-of-00001.npy not written"
    assert len(out) == 1 and "valid.encodec: 1 shards written" in out[0]  # the rest is done
    assert err[2].startswith("mert: train: 1 damaged files (0 in the whole store allowed by --allow-bad): ")
    assert f"row 0: {flacs.audio}/train.flac: cannot be opened" in err[2]
    assert len(err) == 3 and list((flacs.labels / "train.encodec").iterdir()) == []
    code, out, err = mert(*arguments, "--allow-bad", 1)
    assert (code, len(out), len(err)) == (0, 2, 1) and err[0].startswith("damaged files: row 0: ")


def test_one_shard_at_a_time(mert, corpus, teacher):
    """As the tasks of an array job do it."""
    manifest = corpus.manifest((3200, 6400, 960), audio=True)
    arguments = ["labels", "encodec", corpus.manifests, corpus.labels, "--weights", teacher, "--splits", "train", "--nshard", 3]
    for shard in (2, 0):
        assert mert(*arguments, "--shard", shard)[0] == 0
    code, out, err = mert("labels", "check", corpus.manifests, corpus.labels)
    assert (code, len(err)) == (1, 1) and "shard-00001-of-00003.json: missing; make the shard with `mert labels`" in err[0]
    assert mert(*arguments, "--shard", 1)[0] == 0
    assert mert("labels", "check", corpus.manifests, corpus.labels)[0] == 0
    assert TargetStore(corpus.labels / "train.encodec", manifest, "codes", 75.0).num_frames.tolist() == [10, 20, 3]


@pytest.fixture
def run_folder(corpus):
    """A run with one validation, its manifests and its codes."""
    for split in ("train", "valid"):
        corpus.store(corpus.manifest((3200, 6400), split), split=split)
    run = corpus.labels.parent / "run"
    (run / ".hydra").mkdir(parents=True)
    losses = {"valid_loss_codes_m": "3.5", "valid_loss_m_0": "2.5", "valid_loss_m_1": "1.0"}
    record = {**losses, "valid_correct_m_0": "0.25", "valid_correct_m_1": "0.5", "valid_num_updates": "100"}
    (run / "hydra_train.log").write_text(f"[2024-05-06][valid][INFO] - {json.dumps(record)}\n")
    task = {"data": str(corpus.manifests), "label_dir": str(corpus.labels), "labels": ["codes"]}
    (run / ".hydra" / "config.yaml").write_text(json.dumps({"task": task}))
    (run / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"cwd": "/"}}}))
    return run


def test_the_report_of_a_run(mert, run_folder):
    code, out, err = mert("report", run_folder)
    assert (code, err) == (0, [])
    assert out[0].startswith("update 100 -> 100, best 100 ") and out[2].split()[:4] == ["0", "2.50", "->", "2.50"]
    assert out[-3:] == ["checkpoint: none yet", f"picture: {run_folder}/learning_curves.png", f"page: {run_folder}/report.html"]
    assert (run_folder / "learning_curves.png").is_file() and (run_folder / "report.html").is_file()
    assert (run_folder / "report_pictures" / "loss.png").is_file()


def test_the_picture_of_a_report_can_go_elsewhere(mert, run_folder, tmp_path):
    (run_folder / "checkpoints").mkdir()
    (run_folder / "checkpoints" / "checkpoint_last.pt").touch()
    code, out, err = mert("report", run_folder, "--picture", tmp_path / "other.png")
    assert (code, err) == (0, [])
    assert out[-3:-1] == [f"checkpoint: {run_folder}/checkpoints/checkpoint_last.pt", f"picture: {tmp_path}/other.png"]
    assert (tmp_path / "other.png").is_file() and not (run_folder / "learning_curves.png").exists()
    code, out, err = mert("report", run_folder, "--picture", tmp_path / "nowhere" / "other.png")
    assert (code, len(err)) == (1, 1) and err[0].startswith(f"mert: {tmp_path}/nowhere/other.png: cannot be written")


def test_the_report_of_a_run_without_its_targets(mert, run_folder, tmp_path):
    """One line says why there is no table; the page has what the log tells."""
    shutil.rmtree(tmp_path / "labels")
    code, out, err = mert("report", run_folder, "--page", tmp_path / "page.html")
    assert code == 0 and out == ["checkpoint: none yet", f"page: {tmp_path}/page.html"]
    assert len(err) == 1 and err[0].startswith("mert: no table and no learning_curves.png, the page has the curves: ")
    assert "train.codes: no such folder of targets" in err[0] and not (run_folder / "learning_curves.png").exists()
    code, out, err = mert("report", run_folder, "--page", tmp_path / "nowhere" / "page.html")
    assert code == 1 and "nowhere/page_pictures/loss.png: cannot be written" in err[-1] and err[-1].endswith("with --page")


def test_several_runs_are_compared(mert, run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = shutil.copytree(run_folder, tmp_path / "other")
    code, out, err = mert("report", run_folder, other)
    assert (code, err) == (0, []) and out[0].split() == ["run", "other"] and out[-1] == "page: comparison.html"
    assert ["updates", "100", "100"] in [line.split() for line in out]
    assert (tmp_path / "comparison.html").is_file() and (tmp_path / "comparison_pictures" / "learning.png").is_file()
    code, out, err = mert("report", run_folder, other, "--picture", "x.png")
    assert (code, out, len(err)) == (1, [], 1) and err[0].startswith("mert: --picture x.png: is of one run")
