"""The acoustic teacher: codes, long files in windows, folder format and refusals, published weights, fitting."""

import hashlib
import json
import os
import pickle
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from encodec import EncodecModel
from made_music import ArrayTrack, chords

from mert_fairseq.errors import MertError
from mert_fairseq.teachers import rvqvae
from mert_fairseq.teachers.residual_kmeans import first_centres, fit_codebooks, kmeans, nearest, principal_part
from mert_fairseq.teachers.rvqvae import FIT_COMMAND, PUBLISHED_FILE, RVQVAESettings, load_teacher
from mert_fairseq.teachers.rvqvae_fit import FitSettings, fit_rvqvae
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


class Touch:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    for write in (lambda value, path: torch.save(value, path), lambda value, path: path.write_bytes(pickle.dumps(value))):
        write({"encoder": Touch(tmp_path / "ran")}, tmp_path / PUBLISHED_FILE)
        with pytest.raises(MertError, match="nothing in it was run") as refusal:
            load_teacher(tmp_path)
        assert "\n" not in str(refusal.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"<html>404</html>"])
def test_a_damaged_published_file_is_refused(tmp_path, content):
    (tmp_path / PUBLISHED_FILE).write_bytes(content)
    with pytest.raises(MertError, match="is not EnCodec's state dict or is damaged"):
        load_teacher(tmp_path)


@pytest.mark.parametrize("state", [[1, 2], {"a": torch.zeros(1)}])
def test_another_models_state_is_refused(tmp_path, state):
    torch.save(state, tmp_path / PUBLISHED_FILE)
    with pytest.raises(MertError, match="is not EnCodec's state dict"):
        load_teacher(tmp_path)


def test_residual_kmeans_finds_clusters_and_then_their_parts():
    """8 far clusters, each of the same 4 parts: the first codebook has an entry for each cluster, the second for each part."""
    generator = torch.Generator().manual_seed(0)
    coarse, fine = torch.randn(8, 6, generator=generator) * 1e4, torch.randn(4, 6, generator=generator) * 10
    points = (coarse[:, None] + fine - fine.mean(0)).repeat_interleave(50, 1).flatten(0, 1).double()
    one_each, _ = kmeans(points, points[::200].clone(), 5)
    assert torch.allclose(one_each, coarse.double(), atol=1e-6)
    codebooks = fit_codebooks(points, 2, 64, 5, generator)  # 64 even draws miss none of 8 clusters
    first = torch.cdist(points, codebooks[0])
    assert first.min(1).values.max() < 60  # clusters are 1e4 apart
    residual = points - codebooks[0][first.argmin(1)]
    assert torch.cdist(residual, codebooks[1]).min(1).values.max() < 1e-3 * 60


def test_kmeans_leaves_no_centre_unused():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3000, 4, generator=generator) * torch.tensor([1.0, 1, 1, 5])
    points[:1500] *= 1e-3  # half of the points in one spot
    _, assigned = kmeans(points, first_centres(points, 256, generator), 8)
    assert torch.bincount(assigned, minlength=256).min() > 0
    far = torch.cat([points[:1], torch.full((255, 4), 1e3)])  # 255 centres that no point is near to
    _, assigned = kmeans(points, far, 12)
    assert torch.bincount(assigned, minlength=256).min() > 0


def test_kmeans_takes_fewer_distinct_points_than_centres():
    points = torch.eye(4).repeat(3, 1)
    centres, assigned = kmeans(points, first_centres(points, 16, torch.Generator().manual_seed(0)), 3)
    assert torch.isfinite(centres).all() and torch.allclose(centres[assigned], points)


def test_codebooks_of_the_principal_part_do_not_see_the_rest():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(400, 6, generator=generator) * torch.tensor([9.0, 8, 7, 0.1, 0.1, 0.1]) + 3
    part = principal_part(latents, 3)
    assert part.shape == latents.shape and torch.linalg.matrix_rank(part - part.mean(0), rtol=1e-4) == 3
    assert torch.allclose(principal_part(latents, 6), latents, atol=1e-4)
    codebook = fit_codebooks(part, 1, 16, 5, generator)[0]
    assert torch.equal(nearest(latents, codebook), nearest(part, codebook))


SETTINGS = FitSettings(
    model=replace(TINY, num_codebooks=2), updates=3, finetune_updates=2, batch_size=2, clip_s=0.2, kmeans_frames=500,
    kmeans_iterations=2, heldout_frames=300,
)


def test_a_fit_bounded_by_updates_is_the_same_again(tmp_path):
    tracks, heldout = [ArrayTrack(chords(12, 6)), ArrayTrack(chords(1, 7))], [ArrayTrack(chords(5, 8))]
    phases = []
    first, report = fit_rvqvae(tracks, heldout, SETTINGS, lambda phase, done, total: phases.append((phase, done, total)))
    torch.manual_seed(99)  # the caller's generator must not matter
    second, again = fit_rvqvae(tracks, heldout, SETTINGS)
    other, _ = fit_rvqvae(tracks, heldout, replace(SETTINGS, seed=2))
    assert first.weights_hash == second.weights_hash != other.weights_hash
    assert replace(report, seconds=0) == replace(again, seconds=0)
    assert ("autoencoder", 3, 3) in phases and ("codebooks", 2, 2) in phases and ("fine-tuning", 2, 2) in phases
    assert len(report.perplexity) == len(report.residual_energy) == 2 and report.updates == 3 + 2 * report.finetune_kept
    assert not first.training and first.report == {}
    first.save(tmp_path / "out", report.to_dict())
    assert load_teacher(tmp_path / "out").report == json.loads(json.dumps(report.to_dict()))


def test_a_fit_ends_when_its_seconds_are_used_up():
    _, report = fit_rvqvae([ArrayTrack(chords(5, 6))], [ArrayTrack(chords(2, 8))], replace(SETTINGS, updates=10**6, max_seconds=2.0))
    assert 0 < report.updates < 10**5


@pytest.mark.parametrize("tracks, heldout, name", [([], [1], "tracks"), ([1], [], "heldout"), ([0], [1], "tracks")])
def test_a_fit_without_audio_is_refused(tracks, heldout, name):
    tracks, heldout = ([ArrayTrack(chords(1, 0)[: 24_000 * n]) for n in some] for some in (tracks, heldout))
    with pytest.raises(MertError, match=f"{name} holds no audio"):
        fit_rvqvae(tracks, heldout, SETTINGS)
