"""The fast CQT equals its definition (nnAudio) for waves of any length and kind, and moves with the wave."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cqt import SMALL, nnaudio

from mert_fairseq.teachers.cqt import FastCQT, cqt_track
from mert_fairseq.teachers.cqt_kernels import kernels

KINDS = ("noise", "clicks", "sines", "a constant", "silence", "loud noise")


@pytest.fixture(scope="module")
def transform():
    return FastCQT(SMALL)


@pytest.fixture(scope="module")
def definition():
    return nnaudio(SMALL)


def wave_of(kind, num_samples, seed):
    """[1, S] float32."""
    rng = np.random.default_rng(seed)
    wave = np.zeros(num_samples)
    if kind.endswith("noise"):
        wave = rng.normal(0, 50.0 if kind.startswith("loud") else 0.1, num_samples)
    elif kind == "clicks":
        wave[rng.integers(0, num_samples, 3)] = 1.0
    elif kind == "sines":
        time_s = np.arange(num_samples) / SMALL.sample_rate
        wave = sum(np.sin(2 * np.pi * frequency * time_s) for frequency in rng.uniform(20, 11_000, 3))
    elif kind == "a constant":
        wave = np.full(num_samples, 0.5)
    return torch.from_numpy(np.asarray(wave, np.float32))[None]


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.integers(1, 20_000), st.integers(0, 2**32))
def test_equals_the_definition(transform, definition, kind, num_samples, seed):
    wave = wave_of(kind, num_samples, seed)
    ours, theirs = transform(wave), definition(wave)
    assert ours.shape == theirs.shape == (1, num_samples // SMALL.hop + 1, SMALL.num_bins)
    # What is cut off a kernel's spectrum hears what is loud elsewhere: 1e-5 of what a sine of that amplitude gives in its bin.
    sine = float(wave.abs().max()) * kernels(SMALL)[0].length ** 0.5
    assert float((ours - theirs).abs().max()) <= max(2e-4 * float(theirs.max()), 1e-5 * sine)


@settings(max_examples=30)
@given(st.sampled_from(KINDS), st.integers(1, 10_000), st.integers(0, 2**32), st.integers(1, 30))
def test_a_wave_that_begins_later_by_whole_hops_has_the_same_frames_later(transform, kind, num_samples, seed, hops):
    wave = wave_of(kind, num_samples, seed)
    later = transform(torch.nn.functional.pad(wave, (hops * SMALL.hop, 0)))
    ours = transform(wave)
    assert float((later[:, hops:] - ours).abs().max()) <= 1e-4 * max(float(ours.max()), 1e-6)


@settings(max_examples=20)
@given(st.integers(1, 30_000), st.integers(1, 80), st.integers(0, 2**32))
def test_blocks_of_any_size_give_the_whole_track(transform, num_samples, block_frames, seed):
    wave = wave_of("noise", num_samples, seed)
    whole = transform(wave)[0].numpy()
    np.testing.assert_allclose(cqt_track(wave[0], transform, block_frames), whole, atol=1e-4 * whole.max(), rtol=0)
