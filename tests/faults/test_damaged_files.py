"""Checkpoints, exported folders, features and results of probes, damaged: one line, or what was written."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from damaged_content import FOREIGN, damages, inject
from made_checkpoints import write_checkpoint
from outcomes import mert
from test_probe_table import write_task

from mert_fairseq.errors import MertError
from mert_fairseq.export.imported import import_weights
from mert_fairseq.probe.results import read_results, read_scored
from mert_fairseq.probe.window_store import WindowStore


def content_of(imported):
    """What a checkpoint holds, as what can be compared."""
    weights = {name: (str(tensor.dtype), tensor.numpy().tobytes()) for name, tensor in imported.state["model"].items()}
    return weights, imported.state["cfg"], imported.state["task_state"]


def test_a_checkpoint(faults, tmp_path):
    path = write_checkpoint(tmp_path / "model.pt").path
    inject(faults, "checkpoint", path, lambda: content_of(import_weights(str(path))), content_of(import_weights(str(path))), (20, 200))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An exported folder."""
    folder = tmp_path_factory.mktemp("exported")
    shown = mert("export", write_checkpoint(folder / "model.pt").path, folder / "hf")
    assert shown.code == 0, shown.text
    return folder / "hf"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "heads.safetensors"])
def test_an_exported_folder(exported, faults, name):
    wanted = content_of(import_weights(str(exported)))
    inject(faults, f"exported {name}", exported / name, lambda: content_of(import_weights(str(exported))), wanted, (5, 80))


@pytest.mark.parametrize("name", ["results.json", "predictions.npz"])
def test_results_of_probes(faults, tmp_path, name):
    folder = tmp_path / "GTZAN"
    write_task(tmp_path, "GTZAN", 0.75)

    def read():
        scored = read_scored(folder)
        return read_results(folder), scored.items, scored.estimates.tobytes(), scored.reference.tobytes()

    inject(faults, f"probe {name}", folder / name, read, read())
    for content in FOREIGN:
        (folder / "results.json").write_bytes(content)
        shown = mert("probe", "table", tmp_path)
        faults.record("`mert probe table` of damaged results", shown.outcome.replace("survived", "silent"), shown.text)


@pytest.mark.parametrize("name", ["store.json", "index.tsv", "rows.f32"])
def test_a_store_of_windows(faults, tmp_path, name):
    """What is cut off is heard again; rows that are found are those that were written."""
    rows = np.random.default_rng(0).standard_normal((20, 3, 4)).astype(np.float32)
    keys = [f"{row}\t24000\tsong {row}.wav" for row in range(20)]
    with WindowStore(tmp_path, (3, 4)).writing() as store:
        store.add(keys, rows)

    def read():
        store = WindowStore(tmp_path, (3, 4))
        there = store.places()
        store.check(there[key] for key in keys if key in there)
        return all(np.array_equal(store.rows()[there[key]], rows[row]) for row, key in enumerate(keys) if key in there)

    inject(faults, f"probe cache {name}", tmp_path / name, read, True)


@pytest.mark.parametrize("form, name", [("npy", "features.json"), ("npy", "sources.jsonl"), ("npy", "a.wav.npy"),
                                        ("safetensors", "a.wav.safetensors")])  # fmt: skip
def test_a_folder_of_features(checkpoint, faults, tmp_path, form, name):
    """The same command again refuses, or ends with the features that were there."""
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(24_000), 24_000)
    command = ("features", checkpoint, tmp_path / "a.wav", "--out", tmp_path / "out", "--format", form, "--layer", 1)
    assert mert(*command).code == 0
    made = tmp_path / "out" / f"a.wav.{form}"
    whole, text, rng = made.read_bytes(), (tmp_path / "out" / name).read_bytes(), np.random.default_rng(0)
    for kind, content in damages(text, faults, rng, (8, 40), (3, 8)):
        kept = shutil.copytree(tmp_path / "out", tmp_path / "kept")
        (tmp_path / "out" / name).write_bytes(content)
        shown = mert(*command)
        outcome = shown.outcome
        if outcome == "survived" and made.read_bytes() != whole:
            outcome = "silent"
        faults.record(f"features, {name}: {kind}", outcome, shown.text)
        shutil.rmtree(tmp_path / "out")
        kept.rename(tmp_path / "out")


COMMANDS = {
    "export": lambda source, out: ("export", source, out),
    "import": lambda source, out: ("import", source, out),
    "features": lambda source, out: ("features", source, out.parent, "--out", out),
    "probe": lambda source, out: ("probe", "GTZAN", "--model", source, "--data", out.parent),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_read_a_checkpoint(checkpoint, command, faults, tmp_path):
    """One line, and nothing written."""
    text, rng = checkpoint.read_bytes(), np.random.default_rng(0)
    source, out = tmp_path / "damaged.pt", tmp_path / "out"
    changed = bytearray(text)
    changed[len(text) // 2] ^= 1
    for content in [text[: len(text) // 2], bytes(changed), *FOREIGN, json.dumps({"model": {}}).encode(), rng.bytes(5000)]:
        source.write_bytes(content)
        shown = mert(*COMMANDS[command](source, out))
        faults.record(f"`mert {command}` of a damaged checkpoint", shown.outcome.replace("survived", "silent"), shown.text)
        assert not out.exists()


def test_edited_settings_of_an_exported_folder(exported, faults):
    """Settings of training that transformers knows nothing of."""
    path = exported / "config.json"
    text = path.read_text()
    content = json.loads(text)
    for key, value in (("mask_prob", 0.1), ("mixture_prob", 0.9), ("logit_temp", 0.5)):
        own = {**content["mert"], "model": {**content["mert"]["model"], key: value}}
        path.write_text(json.dumps({**content, "mert": own}))
        with pytest.raises(MertError, match="was changed since it was written"):
            import_weights(str(exported))
        faults.record("exported config.json: edited", "refused")
    path.write_text(text)


def test_an_index_that_lost_a_line_end(faults, tmp_path):
    """The rows behind it would be taken for their neighbours."""
    with WindowStore(tmp_path, (2,)).writing() as store:
        store.add([f"key{row}" for row in range(5)], np.arange(10, dtype=np.float32).reshape(5, 2))
    path = tmp_path / "index.tsv"
    lines = path.read_bytes().split(b"\n")
    for row in range(3):  # behind the last one there is none
        path.write_bytes(b"\n".join(lines[:row]) + b"\n" * (row > 0) + lines[row] + b"x" + b"\n".join(lines[row + 1 :]))
        with pytest.raises(MertError, match="was changed since it was written"):
            WindowStore(tmp_path, (2,)).places()
        faults.record("probe cache index.tsv: line end lost", "refused")
