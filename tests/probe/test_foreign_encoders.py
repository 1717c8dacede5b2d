"""Other people's audio models: settings for which transformers would fetch or run code are refused before it sees them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_wav2vec import save_wav2vec, write_kernels

from mert_fairseq.errors import MertError
from mert_fairseq.probe.encoders import open_encoder

#: An older major version, installed apart by `make setup`.
TRANSFORMERS_4 = Path(sys.prefix) / "transformers-4"
NOT_FETCHED = "no code is fetched, allowed are eager, sdpa; remove the setting"
FULL = "weights of full precision wanted; give the model that was not quantized"
#: Changes of config.json, and what is said.
FETCHING = [
    ({"_attn_implementation": "evil/repo"}, f"_attn_implementation='evil/repo': {NOT_FETCHED}"),
    ({"attn_implementation": "evil/repo"}, f"attn_implementation='evil/repo': {NOT_FETCHED}"),
    ({"_attn_implementation_internal": "evil/repo"}, f"_attn_implementation_internal='evil/repo': {NOT_FETCHED}"),
    ({"_attn_implementation": {"": "evil/repo"}}, f"_attn_implementation={{'': 'evil/repo'}}: {NOT_FETCHED}"),
    ({"_attn_implementation": "sdpa|evil/repo"}, f"_attn_implementation='sdpa|evil/repo': {NOT_FETCHED}"),
    ({"_attn_implementation": "flash_attention_2"}, f"_attn_implementation='flash_attention_2': {NOT_FETCHED}"),
    ({"text_config": {"_attn_implementation": "evil/repo"}}, f"_attn_implementation='evil/repo': {NOT_FETCHED}"),
    ({"parts": [{"attn_implementation": "evil/repo"}]}, f"attn_implementation='evil/repo': {NOT_FETCHED}"),
    ({"_experts_implementation": "sonicmoe"}, f"_experts_implementation='sonicmoe': {NOT_FETCHED}"),
    ({"quantization_config": {"quant_method": "mxfp4"}}, f"quantization_config={{'quant_method': 'mxfp4'}}: {FULL}"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, f"quantization_config={{'quant_method': 'gptq', 'bits': 4}}: {FULL}"),
    ({"configuration_files": ["config.4.0.0.json"]}, "configuration_files=['config.4.0.0.json']: other files are not looked at"),
    ({"transformers_weights": "../x.safetensors"}, "transformers_weights='../x.safetensors': other files are not looked at"),
    ({"model_type": "detr", "backbone": "evil/repo", "use_pretrained_backbone": True}, "model_type='detr': transformers' models that take"),
    ({"model_type": None}, "model_type=None: transformers' models that take a wave are data2vec-audio, hubert"),
    ({"model_type": ["hubert"]}, "model_type=['hubert']: transformers' models that take a wave"),
]
#: What loads nonetheless: no code is fetched for it, or what it names stays unexecuted.
HARMLESS = [
    {"_attn_implementation": "eager"},
    {"attn_implementation": "sdpa"},
    {"_attn_implementation": None},
    {"auto_map": {"AutoConfig": "harm.Config", "AutoModel": "harm.Model"}},
    {"auto_map": {"AutoConfig": "evil/repo--harm.Config", "AutoModel": "evil/repo--harm.Model"}},
]
#: Given folders, says in a line each what becomes of them.
LOAD = """
import sys, torch, transformers
from pathlib import Path
from mert_fairseq.errors import MertError
from mert_fairseq.probe.foreign_encoders import load_transformers
assert transformers.__version__.startswith(sys.argv[1]), transformers.__version__
for folder in sys.argv[2:]:
    try:
        print("loaded", load_transformers(Path(folder), torch.device("cpu")).num_layers)
    except MertError as error:
        print(error)
"""
HARM = "import sys, transformers; transformers.AutoModel.from_pretrained(sys.argv[1], trust_remote_code=False)"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return save_wav2vec(tmp_path_factory.mktemp("sound"))


def changed(sound, folder, change, canary="never"):
    """A copy with other settings, and beside them the files that some of those name."""
    folder.mkdir()
    for path in sound.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((sound / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    (folder / "config.4.0.0.json").write_text(json.dumps(config | {"_attn_implementation": "evil/repo"}))
    (folder / "harm.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Config: pass\nclass Model: pass\n")
    return folder


def in_a_process(program, arguments, paths):
    """Lines of a program's output, with those folders first among the paths of imports and without the Hub."""
    paths = [*map(str, paths), os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize("version", ["4.", "5."])
def test_no_code_is_fetched_whatever_the_settings_say(sound, tmp_path, version):
    if version == "4." and not TRANSFORMERS_4.is_dir():
        pytest.skip(f"{TRANSFORMERS_4} is not there; make setup")
    canary = tmp_path / "canary"
    folders = [changed(sound, tmp_path / f"{number}", change, canary) for number, (change, _) in enumerate(FETCHING)]
    folders += [changed(sound, tmp_path / f"harmless{number}", change, canary) for number, change in enumerate(HARMLESS)]
    paths = [TRANSFORMERS_4] * (version == "4.") + [write_kernels(tmp_path / "path", canary)]
    lines = in_a_process(LOAD, [version, *folders], paths)
    assert not canary.exists()
    for folder, line, (_, said) in zip(folders, lines, FETCHING):
        assert line.startswith(f"{folder / 'config.json'}: {said}")
    assert lines[len(FETCHING) :] == ["loaded 2"] * len(HARMLESS)


@pytest.mark.skipif(not TRANSFORMERS_4.is_dir(), reason=f"{TRANSFORMERS_4} is not there; make setup")
@pytest.mark.parametrize("change", [FETCHING[0][0], FETCHING[2][0], {"configuration_files": ["config.4.0.0.json"]}])
def test_the_harm_is_real(sound, tmp_path, change):
    """Left to itself, transformers does fetch code."""
    canary, folder = tmp_path / "canary", changed(sound, tmp_path / "folder", change)
    in_a_process(HARM, [folder], [TRANSFORMERS_4, write_kernels(tmp_path / "path", canary)])
    assert canary.exists()


def test_an_adapter_is_refused(sound, tmp_path):
    folder = changed(sound, tmp_path / "folder", {})
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "evil/repo"}))
    with pytest.raises(MertError, match="adapter_config.json: an adapter's model would be fetched; merge the adapter"):
        open_encoder(str(folder), "cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": "4"},
        {"hidden_size": None},
        {"conv_dim": []},
        {"num_attention_heads": 0},
        {"conv_stride": [0] * 7},
        {"auto_map": 5},
        {"hidden_act": "nothing"},
        {"to_dict": 1},
    ],
)
def test_settings_that_make_no_model_are_one_line(sound, tmp_path, change):
    folder = changed(sound, tmp_path / "folder", change)
    with pytest.raises(MertError) as refusal:
        open_encoder(str(folder), "cpu")
    said = str(refusal.value)
    assert said.startswith(f"{folder}: transformers does not make an audio encoder of it (") and not said.endswith(":)")


@pytest.mark.parametrize("layers", [1_001, 2**31, 10**30])
def test_more_layers_than_a_memory_holds_are_not_built(sound, tmp_path, layers):
    folder = changed(sound, tmp_path / "folder", {"num_hidden_layers": layers})
    with pytest.raises(MertError, match=f"config.json: num_hidden_layers={layers}: at most 1000 are built; download the folder again"):
        open_encoder(str(folder), "cpu")


@pytest.mark.parametrize("text", ["", "[1]", '[["model_type", "hubert"]]', "{", '"hubert"', "null"])
def test_no_settings_at_all(sound, tmp_path, text):
    folder = changed(sound, tmp_path / "folder", {})
    (folder / "config.json").write_text(text)
    with pytest.raises(MertError, match="config.json: cannot be read .*; give a folder that transformers loads"):
        open_encoder(str(folder), "cpu")
