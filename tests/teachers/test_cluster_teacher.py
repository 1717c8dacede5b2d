"""Clustering teachers: known clusters are found, the folder gives the same codes again, damage is refused."""

import json

import numpy as np
import pytest
import torch
from made_music import ArrayTrack

from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.teachers.cluster_fit import ClusterFitSettings, fit_kmeans, fit_melrvq, sample_features
from mert_fairseq.teachers.cluster_teacher import KMEANS, MELRVQ, ClusterTeacher, load_cluster_teacher
from mert_fairseq.teachers.frame_features import FEATURES, FrameFeatures
from mert_fairseq.teachers.labeller import cluster_labeller
from mert_fairseq.teachers.labelling import write_labels

SETTINGS = ClusterFitSettings(num_frames=1500, heldout_frames=600, iterations=4, num_starts=2)


def melody(seconds: int, seed: int) -> ArrayTrack:
    """One of four tones each half second."""
    random, time = np.random.default_rng(seed), np.arange(12_000) / 24_000
    tones = [np.sin(2 * np.pi * hertz * time) for hertz in (220, 311, 440, 1000)]
    return ArrayTrack(np.concatenate([0.3 * tones[random.integers(4)] for _ in range(2 * seconds)]).astype(np.float32))


TRACKS, HELDOUT = [melody(20, 0), melody(10, 1)], [melody(10, 2)]


@pytest.mark.parametrize("kind, width", [("logmel", 229), ("chroma", 264), ("mfcc", 39)])
def test_kmeans_tells_tones_apart(kind, width):
    teacher = fit_kmeans(TRACKS, HELDOUT, kind, 16, SETTINGS)
    assert teacher.codebooks.shape == (1, 16, width) and teacher.name == f"{kind}_kmeans"
    low, high = (teacher.encode_track(np.sin(2 * np.pi * hertz * np.arange(24_000) / 24_000).astype(np.float32) * 0.3)
                 for hertz in (311, 1000))
    assert low.shape == (76, 1) and low.dtype == np.uint16 and not set(low[20:60, 0]) & set(high[20:60, 0])
    assert 1 < teacher.report["perplexity"][0] <= 16 and teacher.report["residual_energy"][0] < 1


def test_melrvq_each_codebook_leaves_less():
    teacher = fit_melrvq(TRACKS, HELDOUT, 4, 16, SETTINGS)
    left = teacher.report["residual_energy"]
    assert teacher.codebooks.shape == (4, 16, 80) and teacher.name == "melrvq" and left == sorted(left, reverse=True) and left[0] < 1
    assert len(teacher.report["perplexity"]) == len(teacher.report["repeat_rate"]) == 4


def fit_mfcc():
    return fit_kmeans(TRACKS, HELDOUT, "mfcc", 8, SETTINGS)


def fit_two_books():
    return fit_melrvq(TRACKS, HELDOUT, 2, 8, SETTINGS)


@pytest.mark.parametrize("fit", [fit_mfcc, fit_two_books])
def test_a_seed_gives_the_same_teacher_and_its_folder_too(fit, tmp_path):
    first, second = fit(), fit()
    assert first.weights_hash == second.weights_hash
    first.save(tmp_path / "teacher")
    loaded = load_cluster_teacher(str(tmp_path / "teacher"), first.format_name)
    np.testing.assert_array_equal(loaded.encode_track(HELDOUT[0].wave), first.encode_track(HELDOUT[0].wave))
    assert (loaded.name, loaded.features, loaded.weights_hash) == (first.name, first.features, first.weights_hash)
    assert loaded.report == json.loads(json.dumps(first.report))


def test_the_sample_is_bounded_and_holds_no_clip_edges():
    sample = sample_features(TRACKS, FrameFeatures(FEATURES["melrvq"]), 700, 1)
    assert sample.shape == (700, 80)
    assert len(sample_features(HELDOUT, FrameFeatures(FEATURES["melrvq"]), 10**9, 1)) == 750  # as many as there are
    silent_edge = FrameFeatures(FEATURES["melrvq"])(np.zeros(3200, np.float32)).mean()
    assert (sample.mean(1) > silent_edge + 0.5).all()
    short = sample_features([melody(1, 5)], FrameFeatures(FEATURES["melrvq"]), 70, 1)  # shorter than a clip: not filled up with silence
    assert (short.mean(1) > silent_edge + 0.5).all()


def test_codes_do_not_depend_on_the_length_of_the_track():
    teacher = fit_melrvq(TRACKS, HELDOUT, 2, 16, SETTINGS)
    long, short = teacher.encode_track(TRACKS[0].wave), teacher.encode_track(TRACKS[0].wave[: 320 * 200])
    np.testing.assert_array_equal(long[:190], short[:190])
    assert teacher.encode_track(np.zeros(0, np.float32)).shape == (0, 2)


def test_labels_of_both_kinds_are_stores_like_any_other(corpus, tmp_path):
    manifest = corpus.manifest([24_000, 3201], audio=True)
    for kind, teacher in (("kmeans", fit_mfcc()), ("melrvq", fit_two_books())):
        teacher.save(tmp_path / kind)
        labeller = cluster_labeller(kind, str(tmp_path / kind))
        assert labeller.settings == json.loads(json.dumps(labeller.settings))  # compared with what was read back
        assert write_labels(manifest, tmp_path / f"train.{kind}", labeller, 2, range(2)) == 2
        store = TargetStore(tmp_path / f"train.{kind}", manifest, "codes", 75.0)
        assert store.num_frames.tolist() == [76, 11] and store.num_classes == [8] * teacher.num_codebooks
        assert write_labels(manifest, tmp_path / f"train.{kind}", labeller, 2, range(2)) == 0


@pytest.fixture
def folder(tmp_path):
    ClusterTeacher(KMEANS, FEATURES["mfcc"], torch.zeros(1, 8, 39)).save(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "cut short or changed"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is not the config.json of a teacher"),
        (lambda folder: (folder / "config.json").unlink(), "no teacher in"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(MertError, match=message) as refusal:
        load_cluster_teacher(str(folder), KMEANS)
    assert "mert teacher fit kmeans" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_teacher_of_another_kind_is_refused(folder):
    with pytest.raises(MertError, match="format 'mert-kmeans' version 1; this version reads 'mert-melrvq'"):
        load_cluster_teacher(str(folder), MELRVQ)
    with pytest.raises(MertError, match="--weights is needed"):
        load_cluster_teacher(None, KMEANS)
    with pytest.raises(MertError, match=r"codebooks \[1, 8, 40\]; needed: \[K, V, 39\]"):
        ClusterTeacher(KMEANS, FEATURES["mfcc"], torch.zeros(1, 8, 40))


def test_too_little_music_is_refused():
    with pytest.raises(MertError, match="frames of music for 2000 clusters"):
        fit_kmeans(HELDOUT, HELDOUT, "mfcc", 2000, SETTINGS)
