"""Folders of teachers and EnCodec's published weights, damaged: one line, or what was written."""

import json

import pytest
import torch
from damaged_content import FOREIGN, inject
from outcomes import mert

from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import KEY, with_hash
from mert_fairseq.teachers.cluster_teacher import KMEANS, ClusterTeacher, load_cluster_teacher
from mert_fairseq.teachers.frame_features import FEATURES
from mert_fairseq.teachers.rvqvae import PUBLISHED_FILE, RVQVAE, RVQVAESettings, load_teacher


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


@pytest.mark.parametrize("name, value", [("codebook_size", "4"), ("dimension", None), ("n_filters", 2.5), ("input_gain", [1.0])])
def test_settings_of_other_types(faults, tmp_path, name, value):
    """With a hash that fits: somebody else's program wrote them."""
    RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=2, codebook_size=4, lstm=1)).save(tmp_path / "teacher")
    path = tmp_path / "teacher" / "config.json"
    content = json.loads(path.read_text())
    del content[KEY]
    path.write_text(json.dumps(with_hash({**content, "settings": {**content["settings"], name: value}})))
    with pytest.raises(MertError, match=f"setting {name}=.* needed: fit anew"):
        load_teacher(tmp_path / "teacher")
    faults.record("teacher config.json: types", "refused")
