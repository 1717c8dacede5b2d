"""The acoustic teacher: codes, long files in windows, folder format and refusals, published weights."""

import hashlib
import json
import os
import signal
from dataclasses import asdict

import numpy as np
import pytest
import torch
from encodec import EncodecModel
from made_music import chords

from mert_fairseq.errors import MertError
from mert_fairseq.teachers import rvqvae
from mert_fairseq.teachers.rvqvae import FIT_COMMAND, PUBLISHED_FILE, RVQVAESettings, load_teacher
from mert_fairseq.teachers.teacher_folder import check_free
from mert_fairseq.teachers.windowed_encoding import WindowedEncoder

TINY = RVQVAESettings(n_filters=2, dimension=16, num_codebooks=3, codebook_size=32)


@pytest.fixture
def folder(teacher, tmp_path):
    teacher.save(tmp_path / "teacher", {"note": "made for a test"})
    return tmp_path / "teacher"


@pytest.mark.parametrize("num_samples, frames", [(0, 0), (1, 1), (319, 1), (320, 1), (321, 2), (24_000, 75), (24_001, 76)])
def test_one_code_per_codebook_and_started_hop(teacher, num_samples, frames):
    wave = torch.from_numpy(chords(2, 1))[:num_samples]
    codes = teacher.encode(wave[None])
    assert codes.shape == (1, 3, frames) and codes.dtype == torch.int64
    track = WindowedEncoder(teacher).encode_track(wave.numpy())
    assert track.shape == (frames, 3) and track.dtype == np.uint16
    assert np.array_equal(track, codes[0].T.numpy())
    if frames:
        assert codes.min() >= 0 and codes.max() < 32
        assert teacher.decode(codes).shape == (1, 320 * frames)
        assert teacher.decode(codes[:, :1]).shape == (1, 320 * frames)


def test_later_samples_do_not_change_earlier_codes(teacher):
    wave = torch.from_numpy(chords(4, 3))[None]
    cut = teacher.encode(wave[:, : 320 * 100])
    assert (teacher.encode(wave)[:, :, :100] == cut).float().mean() >= 0.999


def test_save_and_load_give_the_same_teacher(teacher, folder):
    loaded = load_teacher(folder)
    wave = torch.from_numpy(chords(3, 4))[None]
    assert torch.equal(loaded.encode(wave), teacher.encode(wave))
    assert loaded.settings == TINY and loaded.report == {"note": "made for a test"} and loaded.name == "rvqvae"
    assert (loaded.num_codebooks, loaded.codebook_size) == (3, 32)
    assert loaded.weights_hash == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == teacher.weights_hash
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["teacher"]


def test_save_replaces_a_teacher_but_nothing_else(teacher, folder, tmp_path):
    teacher.save(folder, {"note": "second"})
    assert load_teacher(folder).report == {"note": "second"} and [path.name for path in tmp_path.iterdir()] == ["teacher"]
    other = tmp_path / "music"
    other.mkdir()
    (other / "song.wav").write_bytes(b"x")
    with pytest.raises(MertError, match="holds something else"):
        teacher.save(other)
    assert (other / "song.wav").exists()


def test_a_teacher_that_a_killed_fit_took_away_comes_back(teacher, folder, tmp_path):
    """Killed between the old folder's renaming and the new one's."""
    process = os.fork()
    if process == 0:
        replace_folder = os.replace
        os.replace = lambda source, target: replace_folder(source, target) if source == folder else os.kill(os.getpid(), signal.SIGKILL)
        teacher.save(folder, {"note": "second"})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL and not folder.exists()
    check_free(folder)  # what the next fit begins with
    assert load_teacher(folder).report == {"note": "made for a test"} and [path.name for path in tmp_path.iterdir()] == ["teacher"]


def _set(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "content_sha256": None, **changes}))  # as older versions wrote it


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _wrong_shapes(folder):
    _set(folder, settings={**asdict(TINY), "dimension": 8})


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: _cut(folder / "model.safetensors"), "cut short or changed"),
        (lambda folder: _set(folder, sha256="0" * 64), "config.json says 000000000000"),
        (lambda folder: _set(folder, version=2), "version 2; this version reads 'mert-rvqvae' 1"),
        (lambda folder: _set(folder, format="other"), "format 'other'"),
        (lambda folder: _set(folder, settings={"n_filters": 2}), "other settings than"),
        (_wrong_shapes, "does not hold the weights"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not the config.json of a teacher"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is not the config.json of a teacher"),
        (lambda folder: (folder / "config.json").unlink(), "no teacher weights in"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(MertError, match=message) as refusal:
        load_teacher(folder)
    assert FIT_COMMAND in str(refusal.value) and "\n" not in str(refusal.value) and str(folder) in str(refusal.value)


@pytest.mark.parametrize("setting", [{"n_filters": 4096}, {"codebook_size": 60_000}, {"dimension": 60_000}, {"lstm": 1000}])
def test_a_teacher_larger_than_its_weights_is_not_built(folder, setting, monkeypatch):
    """A line of config.json could ask for terabytes."""
    monkeypatch.setattr(rvqvae, "RVQVAE", lambda *_: pytest.fail("it is built"))
    _set(folder, settings={**asdict(TINY), **setting})
    with pytest.raises(MertError, match="its settings ask for a larger teacher than model.safetensors holds"):
        load_teacher(folder)


def test_absent_weights_name_the_place_and_the_way_out(tmp_path, monkeypatch):
    with pytest.raises(MertError, match=r"nowhere .*config.json.*encodec_24khz-d7cc33bc.th.*mert teacher fit rvqvae"):
        load_teacher(tmp_path / "nowhere")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(MertError, match=r"hub/checkpoints .*mert teacher fit rvqvae MANIFEST_DIR OUT"):
        load_teacher()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """EnCodec's own model with random weights, under the published name; codebooks scaled to its latents."""
    torch.manual_seed(0)
    hub = tmp_path_factory.mktemp("hub")
    model = EncodecModel.encodec_model_24khz(pretrained=False)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.normal_(std=0.05)
    (hub / "checkpoints").mkdir()
    torch.save(model.state_dict(), hub / "checkpoints" / PUBLISHED_FILE)
    return model, hub


@pytest.mark.parametrize("bandwidth, num_codebooks", [(1.5, 2), (3.0, 4), (6, 8), (12.0, 16), (24.0, 32), (None, 8)])
def test_published_weights_give_encodecs_own_codes(published, bandwidth, num_codebooks, monkeypatch, caplog):
    model, hub = published
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub))
    teacher = load_teacher(hub / "checkpoints" if bandwidth else None, bandwidth)
    assert "not the published weights" in caplog.text  # random weights: another hash
    assert teacher.name == "encodec_24khz" and teacher.num_codebooks == num_codebooks and teacher.codebook_size == 1024
    assert teacher.weights_hash == hashlib.sha256((hub / "checkpoints" / PUBLISHED_FILE).read_bytes()).hexdigest()
    wave = torch.from_numpy(chords(1, 5))[None, :10_001]
    model.set_target_bandwidth(bandwidth or 6.0)
    with torch.no_grad():
        [(expected, _)] = model.encode(wave[:, None])
        assert torch.equal(teacher.encode(wave), expected)
        assert torch.allclose(teacher.decode(expected), model.decode([(expected, None)])[:, 0], atol=1e-6)


def test_an_unknown_bandwidth_is_refused(published, folder):
    with pytest.raises(MertError, match="bandwidth 5 kbps; EnCodec at 24 kHz has 1.5, 3.0, 6.0, 12.0, 24.0"):
        load_teacher(published[1] / "checkpoints", 5)
    with pytest.raises(MertError, match="codebooks are fixed"):
        load_teacher(folder, 6.0)
