"""`mert import`: folders and checkpoints as they were published, what is missing in them, and what is refused unread."""

import json
import pickle
import struct

import pytest
import torch
from fairseq.checkpoint_utils import load_model_ensemble_and_task
from fairseq.data import Dictionary
from made_checkpoints import SIZES
from safetensors.torch import load_file, save, save_file

from mert_fairseq.cli.main import main
from mert_fairseq.export.encoder import load_model

transformers = pytest.importorskip("transformers")
WAVE = torch.randn(2, 7_531, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "mert"
    assert main(["export", str(checkpoint.path), str(out)]) == 0
    return out


@pytest.fixture
def published_folder(exported, tmp_path):
    """As on the hub: another model type, the position convolution's older names, no heads, weights pickled."""
    config = json.loads((exported / "config.json").read_text())
    del config["mert"]
    config.update(model_type="mert_model", architectures=["MERTModel"], deepnorm=False, feature_extractor_cqt=False)
    older = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = load_file(exported / "model.safetensors")
    for now, before in older.items():
        weights = {name.replace(now, before): tensor for name, tensor in weights.items()}
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text(json.dumps(config))
    (tmp_path / "hub" / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 24_000}))
    torch.save(weights, tmp_path / "hub" / "pytorch_model.bin")
    return tmp_path / "hub"


def published_state(state):
    """Of fairseq: dictionaries in the task's state, further settings, kernels of the CQT among the weights."""
    dictionaries = []
    for size in SIZES:
        dictionaries.append(Dictionary())
        for code in range(size):
            dictionaries[-1].add_symbol(str(code))
    kernels = {f"encoder_cqt_model.spec_layer.cqt_kernels_{part}": torch.zeros(4, 1, 16) for part in ("real", "imag")}
    cfg = {part: dict(values) for part, values in state["cfg"].items()}
    known = {"seed", "autocast", "compile"}  # settings that only this package has
    cfg["model"] = {name: value for name, value in cfg["model"].items() if name not in known}
    cfg["model"] |= {"conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2", "deepnorm": False, "audio_mel_loss_m": True}
    cfg["task"] |= {"labels": ["encodec_0", "encodec_1", "encodec_2"], "store_labels": True, "cqt_loss_bin_dataloader": -1}
    cfg["criterion"] = {"_name": "hubert", "loss_weights": [10, 1], "pred_masked_weight": 1.0}
    return {**state, "cfg": cfg, "model": {**state["model"], **kernels}, "task_state": {"dictionaries": dictionaries}}


def states_of(path):
    return torch.stack(load_model(str(path)).hidden_states(WAVE))


def test_published_folder_gives_the_encoder_and_new_heads(checkpoint, published_folder, tmp_path, capsys):
    assert main(["import", str(published_folder), str(tmp_path / "in.pt"), "--codebook-sizes", "11", "12"]) == 0
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("not in the source, initialised")]
    assert "final_proj.weight" in said and "label_embs_concat" in said and "encoder." not in said.replace("encoder_cqt_model", "")
    torch.testing.assert_close(states_of(tmp_path / "in.pt"), torch.stack(checkpoint.model.hidden_states(WAVE)), atol=1e-6, rtol=0)
    torch.testing.assert_close(states_of(published_folder), states_of(tmp_path / "in.pt"), atol=0, rtol=0)
    assert torch.load(tmp_path / "in.pt")["model"]["label_embs_concat"].shape[0] == 11 + 12 + 2 * 4


def test_published_checkpoint_is_imported_and_loads_directly(checkpoint, tmp_path, capsys):
    torch.save(published_state(checkpoint.state), tmp_path / "published.pt")
    assert main(["import", str(tmp_path / "published.pt"), str(tmp_path / "in.pt")]) == 0
    assert "ignored: audio_mel_loss_m=True" in capsys.readouterr().err
    for name, tensor in torch.load(tmp_path / "in.pt")["model"].items():
        assert torch.equal(tensor, checkpoint.state["model"][name]), name
    for path in ("published.pt", "in.pt"):
        (model,), cfg, task = load_model_ensemble_and_task([str(tmp_path / path)])
        assert task.codebook_sizes == SIZES
        ours, theirs = (loaded.eval().hidden_states(WAVE) for loaded in (checkpoint.model, model))
        torch.testing.assert_close(torch.stack(theirs), torch.stack(ours), atol=1e-6, rtol=0)


def test_sizes_are_read_off_the_weights_where_no_dictionary_is_kept(checkpoint, tmp_path):
    state = published_state(checkpoint.state)
    state["model"]["label_embs_concat"] = torch.randn(3 * (10 + 4), 8)
    torch.save({**state, "task_state": {}}, tmp_path / "published.pt")
    assert main(["import", str(tmp_path / "published.pt"), str(tmp_path / "in.pt")]) == 0
    assert torch.load(tmp_path / "in.pt")["task_state"]["codebook_sizes"] == [10, 10, 10]


class Trap:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["evil.pt", "hub/pytorch_model.bin"])
def test_pickles_run_no_code(published_folder, tmp_path, name, capsys):
    (tmp_path / name).write_bytes(pickle.dumps({"model": Trap(tmp_path / "ran")}, protocol=2))
    torch.save({"model": Trap(tmp_path / "ran")}, tmp_path / "zipped.pt")
    for source in (tmp_path / name if name.endswith(".pt") else published_folder, tmp_path / "zipped.pt"):
        assert main(["import", str(source), str(tmp_path / "in.pt")]) == 1
        assert "refused, unread" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists() and not (tmp_path / "in.pt").exists()


def test_faults_of_a_folder_are_named(exported, published_folder, tmp_path, capsys):
    def said(folder) -> str:
        assert main(["import", str(folder), str(tmp_path / "in.pt")]) == 1
        assert not (tmp_path / "in.pt").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    config = json.loads((published_folder / "config.json").read_text())
    for change, text in (
        ({"model_type": "wav2vec2"}, "a model of type 'wav2vec2', wanted 'hubert' or 'mert_model'"),
        ({"feature_extractor_cqt": True}, "feature_extractor_cqt=True: not supported"),
        ({"hidden_size": 48}, "of another shape: "),
        ({"num_hidden_layers": 4}, "missing: encoder.layers.3."),
        ({"num_hidden_layers": 2}, "unknown: encoder.layers.2."),
        ({"conv_dim": 16}, "does not describe a convolution stack"),
    ):
        (published_folder / "config.json").write_text(json.dumps(config | change))
        assert text in said(published_folder)
    (published_folder / "config.json").write_text(json.dumps(config))
    (published_folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16_000}))
    assert "a model of 16000 Hz audio, as plain HuBERT and MERT-v0 are" in said(published_folder)
    assert "config.json: missing" in said(tmp_path)
    (tmp_path / "empty").mkdir()
    assert "config.json: missing" in said(tmp_path / "empty")


@pytest.mark.parametrize("name", ["hidden_act", "feat_extract_norm", "conv_dim", "layer_norm_eps", "num_hidden_layers"])
def test_a_setting_that_is_missing_is_named(published_folder, tmp_path, name, capsys):
    config = json.loads((published_folder / "config.json").read_text())
    del config[name]
    (published_folder / "config.json").write_text(json.dumps(config))
    assert main(["import", str(published_folder), str(tmp_path / "in.pt")]) == 1
    assert capsys.readouterr().err == f"mert: {published_folder}: its config.json has no '{name}'\n"


@pytest.mark.parametrize("name", ["model.safetensors", "heads.safetensors", "config.json"])
def test_truncated_files_of_a_folder_are_named(exported, tmp_path, name, capsys):
    for path in exported.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[: len(content) // 2] if path.name == name else content)
    assert main(["import", str(tmp_path), str(tmp_path / "in.pt")]) == 1
    assert capsys.readouterr().err.startswith(f"mert: {tmp_path / name}: ")
    assert not list(tmp_path.glob("*.pt")) and not list(tmp_path.glob(".*.part"))


def test_index_cannot_name_files_elsewhere(exported, tmp_path, capsys):
    save_file(load_file(exported / "model.safetensors"), tmp_path / "outside.safetensors")
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json", "heads.safetensors"):
        (folder / name).write_bytes((exported / name).read_bytes())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"mask_emb": "../outside.safetensors"}}))
    assert main(["import", str(folder), str(tmp_path / "in.pt")]) == 1
    assert "files of the folder itself wanted" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [float("nan"), None], ids=["nan", "int8"])
def test_weights_that_are_no_numbers_are_refused(checkpoint, tmp_path, wrong, capsys):
    weights = dict(checkpoint.state["model"])
    name = "encoder.layers.1.fc1.weight"
    weights[name] = torch.full_like(weights[name], wrong) if wrong is not None else weights[name].to(torch.int8)
    torch.save({**checkpoint.state, "model": weights}, tmp_path / "bad.pt")
    for command, rest in (("import", [str(tmp_path / "in.pt")]), ("features", [__file__, "--out", str(tmp_path / "f")])):
        assert main([command, str(tmp_path / "bad.pt"), *rest]) == 1
        assert f"1 weights are not finite numbers, first {name}" in capsys.readouterr().err


KINDS = {
    "nested": lambda weight: torch.nested.nested_tensor(list(weight)),
    "qint8": lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    "complex64": lambda weight: torch.complex(weight, weight),
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_another_kind_are_refused(checkpoint, tmp_path, kind, capsys):
    name, rest = "encoder.layers.1.fc1.weight", {"features": [__file__, "--out"], "import": [], "export": []}
    weights = {**checkpoint.state["model"], name: KINDS[kind](checkpoint.state["model"][name])}
    torch.save({**checkpoint.state, "model": weights}, tmp_path / "odd.pt")
    for command, before in rest.items():
        assert main([command, str(tmp_path / "odd.pt"), *before, str(tmp_path / "out")]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"a tensor of kind {kind}; real numbers, integers or truth values wanted" in line
        assert not (tmp_path / "out").exists()


def copied(exported, folder, weights):
    """The folder with other bytes of weights, as another program left it: without this package's part."""
    for path in exported.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    del config["mert"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_metadata_may_be_null(checkpoint, exported, tmp_path):
    """As safetensors takes it."""
    content = (exported / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.dumps(json.loads(content[8 : 8 + length]) | {"__metadata__": None}).encode()
    folder = copied(exported, tmp_path, struct.pack("<Q", len(header)) + header + content[8 + length :])
    torch.testing.assert_close(states_of(folder), torch.stack(checkpoint.model.hidden_states(WAVE)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float64])
def test_weights_of_every_width_are_taken(exported, tmp_path, dtype):
    weights = {name: tensor.to(dtype) for name, tensor in load_file(exported / "model.safetensors").items()}
    folder = copied(exported, tmp_path, save(weights))
    assert main(["import", str(folder), str(tmp_path / "in.pt")]) == 0
    theirs = weights["encoder.layers.1.feed_forward.intermediate_dense.weight"]
    assert torch.equal(torch.load(tmp_path / "in.pt")["model"]["encoder.layers.1.fc1.weight"], theirs.float())
    assert torch.isfinite(states_of(folder)).all()


@pytest.mark.parametrize("dtype, wrong", [(torch.float8_e4m3fn, float("nan")), (torch.float8_e5m2, float("inf")), (torch.float64, 1e300)])
def test_numbers_that_float32_does_not_hold_are_refused(exported, tmp_path, dtype, wrong, capsys):
    weights = load_file(exported / "model.safetensors")
    weights["masked_spec_embed"] = torch.full_like(weights["masked_spec_embed"], wrong, dtype=torch.float64).to(dtype)
    assert main(["import", str(copied(exported, tmp_path, save(weights))), str(tmp_path / "in.pt")]) == 1
    assert "1 weights are not finite numbers, first mask_emb" in capsys.readouterr().err


def test_folder_that_contradicts_itself_is_refused(exported, tmp_path, capsys):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_attention_heads": 2}))
    assert main(["import", str(tmp_path), str(tmp_path / "in.pt")]) == 1
    assert "differ in encoder_attention_heads" in capsys.readouterr().err


def test_folder_saved_again_by_transformers_is_read_without_heads(checkpoint, exported, tmp_path):
    transformers.AutoModel.from_pretrained(exported).save_pretrained(tmp_path / "again")
    torch.testing.assert_close(states_of(tmp_path / "again"), torch.stack(checkpoint.model.hidden_states(WAVE)), atol=1e-5, rtol=0)


def test_full_disk_leaves_nothing(exported, tmp_path, full_disk, capsys):
    assert main(["import", str(exported), str(tmp_path / "in.pt")]) == 1
    assert f"{tmp_path}/in.pt: cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
