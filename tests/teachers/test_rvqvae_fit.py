"""Fitting the acoustic teacher: the same again, in the time that is given, and never without audio."""

import json
from dataclasses import replace

import pytest
import torch
from made_music import ArrayTrack, chords
from test_rvqvae import TINY

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.rvqvae import load_teacher
from mert_fairseq.teachers.rvqvae_fit import FitSettings, fit_rvqvae

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
