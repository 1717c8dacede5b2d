"""`mert export`: what transformers computes from the folder, what is in it, and what is refused."""

import json
import os
import socket
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from made_checkpoints import SIZES, write_checkpoint
from safetensors import safe_open

from mert_fairseq.cli import export
from mert_fairseq.cli.main import main
from mert_fairseq.export import compare, hf_folder
from mert_fairseq.export.hubert_names import to_hugging_face

transformers = pytest.importorskip("transformers")
#: An older major version, installed apart by `make setup`.
TRANSFORMERS_4 = Path(sys.prefix) / "transformers-4"


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """The folder, with model.onnx in it."""
    out = tmp_path_factory.mktemp("exported") / "mert"
    assert main(["export", str(checkpoint.path), str(out), "--onnx"]) == 0
    return out


@torch.no_grad()
@pytest.mark.parametrize("num_clips,length", [(1, 400), (3, 9_999), (2, 24_001)])
def test_transformers_computes_the_same_hidden_states(checkpoint, exported, num_clips, length):
    wave = torch.randn(num_clips, length)
    found = transformers.AutoModel.from_pretrained(exported).eval()(wave, output_hidden_states=True)
    ours = checkpoint.model.hidden_states(wave)
    assert type(transformers.AutoModel.from_pretrained(exported)).__name__ == "HubertModel"
    for theirs, own in zip([*found.hidden_states[:-1], found.last_hidden_state], ours, strict=True):
        torch.testing.assert_close(theirs, own, atol=1e-4, rtol=0)
    for layer in range(1, 4):  # what training computes, layer by layer
        trained = checkpoint.model(wave, mask=False, features_only=True, output_layer=None if layer == 3 else layer)["x"]
        torch.testing.assert_close(ours[layer], trained, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("num_clips,length", [(1, 400), (4, 7_777)])
def test_onnx_graph_computes_the_same_for_other_batches_and_lengths(checkpoint, exported, num_clips, length):
    import onnxruntime

    wave = torch.randn(num_clips, length)
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["hidden_states"], {"wave": wave.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), torch.stack(checkpoint.model.hidden_states(wave)), atol=1e-4, rtol=0)


@pytest.mark.skipif(not TRANSFORMERS_4.is_dir(), reason=f"{TRANSFORMERS_4} is not there; make setup")
def test_both_major_versions_of_transformers_take_the_folder(checkpoint, exported):
    wave, lines = torch.randn(2, 5_000), [
        "import sys, torch, transformers",
        "model, found = transformers.AutoModel.from_pretrained(sys.argv[1], output_loading_info=True)",
        "assert transformers.__version__.startswith('4.56.'), transformers.__version__",
        "assert not found['missing_keys'] and not found['unexpected_keys'], found",
        "with torch.no_grad(): found = model.eval()(torch.load(sys.argv[2]), output_hidden_states=True)",
        "torch.save(torch.stack([*found.hidden_states[:-1], found.last_hidden_state]), sys.argv[2])",
    ]
    path = exported.parent / "wave.pt"
    torch.save(wave, path)
    assert not transformers.__version__.startswith("4.")
    environment = {**os.environ, "PYTHONPATH": str(TRANSFORMERS_4), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", "\n".join(lines), str(exported), str(path)], check=True, env=environment)
    torch.testing.assert_close(torch.load(path), torch.stack(checkpoint.model.hidden_states(wave)), atol=1e-4, rtol=0)


def test_folder_holds_no_pickle_and_everything_that_loading_takes(exported):
    names = {path.name for path in exported.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "heads.safetensors", "preprocessor_config.json", "model.onnx"}
    prepare = transformers.AutoFeatureExtractor.from_pretrained(exported)
    assert (prepare.sampling_rate, prepare.do_normalize) == (24_000, False)
    with safe_open(exported / "heads.safetensors", "pt") as heads:
        assert {name.split(".")[0] for name in heads.keys()} == {"final_proj", "label_embs_concat", "encoder_cqt_model"}
    assert json.loads((exported / "config.json").read_text())["mert"]["codebook_sizes"] == SIZES


def test_model_card_has_the_facts_of_the_run(exported):
    card = (exported / "README.md").read_text()
    assert "| updates | 500 |" in card and "| device-hours | 2.0 |" in card and "3 of 5, 7, 9 entries" in card and "None" not in card


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_round_trip_is_bit_equal(checkpoint, tmp_path, dtype):
    before = write_checkpoint(tmp_path / "before.pt", checkpoint.pre_ln, dtype).state
    assert main(["export", str(tmp_path / "before.pt"), str(tmp_path / "mert")]) == 0
    assert main(["import", str(tmp_path / "mert"), str(tmp_path / "after.pt")]) == 0
    after = torch.load(tmp_path / "after.pt")
    assert list(after["model"]) == list(before["model"])
    for name, tensor in before["model"].items():
        assert after["model"][name].dtype == dtype and torch.equal(after["model"][name], tensor), name
    assert after["cfg"]["model"] == before["cfg"]["model"] and after["task_state"]["codebook_sizes"] == SIZES


def test_nothing_is_left_where_hidden_states_differ(one_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "clip", lambda length, num_clips=2: torch.full((num_clips, length), float("nan")))
    assert main(["export", str(one_checkpoint.path), str(tmp_path / "mert")]) == 1
    assert "hidden states differ from the checkpoint's by nan" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_weight_that_is_a_little_off_is_noticed(one_checkpoint, tmp_path, monkeypatch, capsys):
    def off(weights):
        renamed = to_hugging_face(weights)
        renamed["encoder.layers.1.attention.q_proj.bias"] = renamed["encoder.layers.1.attention.q_proj.bias"] + 0.02
        return renamed

    monkeypatch.setattr(hf_folder, "to_hugging_face", off)
    assert main(["export", str(one_checkpoint.path), str(tmp_path / "mert")]) == 1
    said = capsys.readouterr().err
    assert "over 0.0001; nothing was written" in said and float(said.split(" by ")[1].split(",")[0]) < 0.1
    assert list(tmp_path.iterdir()) == []


def test_what_killed_exports_left_goes(one_checkpoint, tmp_path):
    """A folder beside the one that is made."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getppid()):
        (tmp_path / f".mert.{socket.gethostname()}.{process}.part").mkdir()
    (tmp_path / f".mert.{socket.gethostname()}.{dead.pid}.part" / "model.safetensors").touch()
    assert main(["export", str(one_checkpoint.path), str(tmp_path / "mert")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".mert.{socket.gethostname()}.{os.getppid()}.part", "mert"]


def test_an_export_that_was_sooner_stays(one_checkpoint, tmp_path, monkeypatch, capsys):
    def sooner(*given):
        (tmp_path / "mert").mkdir()
        (tmp_path / "mert" / "config.json").write_text("another's")
        return 0.0

    monkeypatch.setattr(export, "_write", sooner)
    assert main(["export", str(one_checkpoint.path), str(tmp_path / "mert")]) == 1
    assert capsys.readouterr().err == f"mert: {tmp_path}/mert: exists and is not empty; give another folder, or remove it\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["mert", "config.json"]


def test_nothing_is_left_on_a_full_disk(one_checkpoint, tmp_path, full_disk, capsys):
    assert main(["export", str(one_checkpoint.path), str(tmp_path / "mert")]) == 1
    assert capsys.readouterr().err.startswith(f"mert: {tmp_path}/mert: cannot be written (")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_checkpoint_of_mert_is_refused(one_checkpoint, tmp_path, capsys):
    def said(state) -> str:
        torch.save(state, tmp_path / "given.pt")
        assert main(["export", str(tmp_path / "given.pt"), str(tmp_path / "out")]) == 1
        assert not (tmp_path / "out").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    state, cfg = one_checkpoint.state, one_checkpoint.state["cfg"]
    assert "not a fairseq checkpoint" in said({"weights": 1})
    assert "model 'hubert', wanted 'mert'; a plain HuBERT" in said({**state, "cfg": {**cfg, "model": {"_name": "hubert"}}})
    fewer = {name: tensor for name, tensor in state["model"].items() if name != "mask_emb"}
    assert "first mask_emb" in said({**state, "model": fewer})
    assert "no model can be built" in said({**state, "cfg": {**cfg, "model": {**cfg["model"], "encoder_layers": "three"}}})
    assert "no model can be built" in said({**state, "cfg": {**cfg, "model": {**cfg["model"], "encoder_layers": -1}}})
    assert "a value wanted" in said({**state, "cfg": {**cfg, "model": {**cfg["model"], "seed": "${oc.env:HOME}"}}})
    assert "older form" in said({**state, "cfg": None, "args": Namespace(arch="mert")})
    assert "holds no settings by name" in said({**state, "cfg": {**cfg, "model": "mert"}})
    assert "sizes of its codebooks" in said({**state, "task_state": {"codebook_sizes": 7}})
    assert "deepnorm=true: not supported" in said({**state, "cfg": {**cfg, "model": {**cfg["model"], "deepnorm": True}}})


def test_damaged_file_and_folder_in_use_are_refused(one_checkpoint, tmp_path, capsys):
    (tmp_path / "cut.pt").write_bytes(one_checkpoint.path.read_bytes()[:3_000])
    assert main(["export", str(tmp_path / "cut.pt"), str(tmp_path / "out")]) == 1
    assert "truncated or not a checkpoint" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "gone.pt"), str(tmp_path / "out")]) == 1
    assert "no such checkpoint" in capsys.readouterr().err
    assert main(["export", str(tmp_path), str(tmp_path / "out")]) == 1
    assert "a folder, a checkpoint wanted" in capsys.readouterr().err
    assert main(["export", str(one_checkpoint.path), str(tmp_path)]) == 1
    assert "exists and is not empty" in capsys.readouterr().err
