"""What training and its tools wrote, cut off, with a bit flipped, or of another program: one line, or what was written."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from made_checkpoints import write_checkpoint
from outcomes import mert
from run_folders import LOG, RunFolders
from test_probe_table import write_task

from mert_fairseq.errors import MertError
from mert_fairseq.export.imported import import_weights
from mert_fairseq.probe.results import read_results, read_scored
from mert_fairseq.probe.window_store import WindowStore
from mert_fairseq.report.run import read_run
from mert_fairseq.teachers.cluster_teacher import KMEANS, ClusterTeacher, load_cluster_teacher
from mert_fairseq.teachers.frame_features import FEATURES
from mert_fairseq.teachers.rvqvae import PUBLISHED_FILE, RVQVAE, RVQVAESettings, load_teacher

#: Content of other programs, and none.
FOREIGN = (b"", b"\0" * 999, b"not this", b"PK\x03\x04" + b"x" * 99, b"{}", b"[]", b"null", b'{"a": ' * 500, b"\x80\x02}q\0.", b"\xff\xfe")


def damages(text, faults, rng, flips=(12, 80), cuts=(5, 30)):
    """(kind, content) of damaged files."""
    for part in np.linspace(0, 1, faults.times(*cuts), endpoint=False):
        yield "cut", text[: int(part * len(text))]
    for _ in range(faults.times(*flips)):
        changed = bytearray(text)
        changed[int(rng.integers(len(text)))] ^= 1 << int(rng.integers(8))
        yield "bit flipped", bytes(changed)
    for content in FOREIGN:
        yield "foreign", content


def inject(faults, what, path, read, wanted, flips=(12, 80)):
    """Damages one file again and again; `read` gives what is compared with `wanted`, or raises MertError."""
    text, rng = path.read_bytes(), np.random.default_rng(len(what))
    for kind, content in damages(text, faults, rng, flips):
        path.write_bytes(content)
        try:
            found, said = read(), ""
        except MertError as error:
            outcome, said = "silent" if "\n" in str(error) else "refused", str(error)
        except Exception as error:  # noqa: BLE001  a user would see its traceback
            outcome, said = "traceback", repr(error)
        else:
            outcome = "survived" if wanted is None or found == wanted else "silent"
        faults.record(f"{what}: {kind}", outcome, said)
    path.write_bytes(text)


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


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["rvqvae", "kmeans"])
def test_a_teacher(kind, name, faults, tmp_path):
    folder = tmp_path / "teacher"
    if kind == "rvqvae":
        RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=2, codebook_size=4, lstm=1)).save(folder)
    else:
        ClusterTeacher(KMEANS, FEATURES["mfcc"], torch.randn(1, 4, 39)).save(folder)

    def read():
        teacher = load_teacher(folder) if kind == "rvqvae" else load_cluster_teacher(str(folder), KMEANS)
        settings = teacher.settings if kind == "rvqvae" else teacher.features
        return settings, teacher.weights_hash, teacher.codebooks.numpy().tobytes()

    inject(faults, f"teacher {name}", folder / name, read, read())


def test_published_weights(faults, tmp_path):
    """Other weights than the published are taken with a warning; a damaged file is refused by its checksums."""
    teacher = RVQVAE(RVQVAESettings(n_filters=32, num_codebooks=2, input_gain=1.0), "encodec_24khz")
    state = {name: tensor for name, tensor in teacher.state_dict().items() if name != "codebooks"}
    state |= {f"quantizer.vq.layers.{k}._codebook.embed": torch.randn(1024, 128) for k in range(2)}
    torch.save(state, tmp_path / PUBLISHED_FILE)

    def read():
        loaded = load_teacher(tmp_path, 1.5)
        return {name: tensor.numpy().tobytes() for name, tensor in loaded.state_dict().items()}

    inject(faults, "EnCodec's weights", tmp_path / PUBLISHED_FILE, read, read(), flips=(4, 30))


def test_labels_by_a_damaged_teacher(faults, tmp_path):
    """The command says it in one line, before a store is begun."""
    for number, content in enumerate(FOREIGN):
        folder = tmp_path / f"teacher{number}"
        RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=2, codebook_size=4, lstm=1)).save(folder)
        (folder / ("config.json" if number % 2 else "model.safetensors")).write_bytes(content)
        (tmp_path / "manifest").mkdir(exist_ok=True)
        for split in ("train", "valid"):
            (tmp_path / "manifest" / f"{split}.tsv").write_text(f"{tmp_path}\na.wav\t24000\n")
        shown = mert("labels", "encodec", tmp_path / "manifest", tmp_path / "labels", "--weights", folder)
        faults.record("`mert labels encodec` of a damaged teacher", shown.outcome.replace("survived", "silent"), shown.text)
        assert not (tmp_path / "labels").exists()


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


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "model.pt").path


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


def test_the_log_of_a_run(corpus, faults):
    """The report is of what can be read, or one line says that nothing can."""
    runs = RunFolders(corpus)
    runs.targets()
    run = runs.make("run", LOG)

    def read():
        found = read_run(run)
        return found.settings, found.overrides, found.state

    for name in ("hydra_train.log", ".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"):
        inject(faults, f"run folder, {name.rpartition('/')[2]}", run / name, read, None, (5, 100))


def test_the_report_of_a_damaged_run(corpus, faults):
    """The whole command, page and pictures."""
    runs = RunFolders(corpus)
    runs.targets()
    text = "".join(LOG).encode()
    rng = np.random.default_rng(0)
    run = runs.make("run", LOG)
    runs.save_checkpoint(run)
    for name in ("hydra_train.log", "checkpoints/checkpoint_last.pt"):
        text = (run / name).read_bytes()
        for kind, content in list(damages(text, faults, rng, (5, 8), (5, 5)))[:: faults.times(7, 2)]:
            (run / name).write_bytes(content)
            shown = mert("report", run)
            faults.record(f"`mert report`, {name.rpartition('/')[2]}: {kind}", shown.outcome, shown.text)
        (run / name).write_bytes(text)


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


def test_edited_settings_of_a_teacher(faults, tmp_path):
    """Codes would be others than its report is of."""
    RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=2, codebook_size=4, lstm=1)).save(tmp_path / "teacher")
    path = tmp_path / "teacher" / "config.json"
    content = json.loads(path.read_text())
    for gain in (1.0, 8.5, 80.0):
        path.write_text(json.dumps({**content, "settings": {**content["settings"], "input_gain": gain}}))
        with pytest.raises(MertError, match="was changed since it was written"):
            load_teacher(tmp_path / "teacher")
        faults.record("teacher config.json: edited", "refused")
