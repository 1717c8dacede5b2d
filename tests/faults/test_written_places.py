"""What is read from a folder or an archive decides nothing of where is written: links and names with .. lead nowhere."""

import json
import os

import numpy as np
import pytest
import soundfile
from made_checkpoints import write_checkpoint
from outcomes import mert
from safetensors.torch import load_file, save_file

from mert_fairseq.frames import SAMPLE_RATE


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "checkpoint_last.pt").path


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    pytest.importorskip("transformers")
    out = tmp_path_factory.mktemp("exported") / "mert"
    assert mert("export", checkpoint, out).code == 0
    return out


def below(folder):
    """Every file below a folder with its bytes; links as what they point to."""
    return {path: os.readlink(path) if path.is_symlink() else path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that nothing may be written to."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "kept.pt").write_bytes(b"another's")
    before = below(folder)
    yield folder
    assert below(folder) == before


ELSEWHERE = ("../kept.safetensors", "part/../../kept.safetensors", "part/kept.safetensors", "/etc/passwd", "..", ".", "")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_index_of_parts_names_files_of_its_folder(faults, exported, elsewhere, tmp_path, name):
    save_file(load_file(exported / "model.safetensors"), tmp_path / "kept.safetensors")
    folder = tmp_path / "parts"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "kept.safetensors").write_bytes((tmp_path / "kept.safetensors").read_bytes())
    for kept in ("config.json", "heads.safetensors"):
        (folder / kept).write_bytes((exported / kept).read_bytes())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"masked_spec_embed": name}}))
    shown = mert("import", folder, tmp_path / "in.pt")
    faults.record("names of another folder", shown.outcome if shown.code else "silent", shown.text)
    assert not (tmp_path / "in.pt").exists()


def test_a_folder_of_links_is_read_and_not_written(faults, exported, elsewhere, tmp_path):
    """As the hub's cache keeps its files."""
    folder, before = tmp_path / "links", below(exported)
    folder.mkdir()
    for path in exported.iterdir():
        (folder / path.name).symlink_to(path)
    shown = mert("import", folder, tmp_path / "in.pt")
    faults.record("a folder of links", shown.outcome if shown.code == 0 and below(exported) == before else "lost", shown.text)


def test_a_link_in_the_place_of_the_result_is_not_followed(faults, checkpoint, elsewhere, tmp_path):
    """import refuses one that leads to a file, and replaces one that leads to nothing."""
    (tmp_path / "out.pt").symlink_to(elsewhere / "kept.pt")
    shown = mert("import", checkpoint, tmp_path / "out.pt")
    faults.record("a link in the result's place", shown.outcome if shown.code else "silent", shown.text)
    (tmp_path / "new.pt").symlink_to(elsewhere / "none.pt")
    shown = mert("import", checkpoint, tmp_path / "new.pt")
    sound = shown.code == 0 and not (tmp_path / "new.pt").is_symlink()
    faults.record("a link in the result's place", "survived" if sound else "lost", shown.text)


def test_features_of_linked_audio_stay_in_their_folder(faults, checkpoint, elsewhere, tmp_path):
    music = tmp_path / "music"
    (music / "album").mkdir(parents=True)
    soundfile.write(tmp_path / "song.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 2_400), SAMPLE_RATE)
    (music / "album" / "song.wav").symlink_to("../../song.wav")
    (music / "..hidden.wav").write_bytes((tmp_path / "song.wav").read_bytes())
    before = set(below(tmp_path))
    shown = mert("features", checkpoint, music, "--out", tmp_path / "out")
    written = set(below(tmp_path)) - before
    inside = all(path.resolve().is_relative_to(tmp_path / "out") for path in written)
    faults.record("audio behind links", "survived" if shown.code == 0 and inside and len(written) >= 3 else "lost", shown.text)
