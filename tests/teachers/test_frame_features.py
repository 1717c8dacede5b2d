"""Spectral features: known tones, the frame grid, and blocks that leave no trace."""

import numpy as np
import pytest

from mert_fairseq.errors import MertError
from mert_fairseq.teachers import frame_features
from mert_fairseq.teachers.frame_features import FEATURES, FeatureConfig, FrameFeatures


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * 24_000)) / 24_000)).astype(np.float32)


@pytest.mark.parametrize("name, size", [("logmel", 229), ("chroma", 264), ("mfcc", 39), ("melrvq", 80)])
def test_sizes_are_the_papers_and_frames_are_on_the_grid(name, size):
    features = FrameFeatures(FEATURES[name])
    for num_samples, frames in ((1, 1), (319, 1), (320, 2), (24_000, 76)):
        values = features(np.random.default_rng(0).standard_normal(num_samples).astype(np.float32))
        assert values.shape == (frames, size) and values.dtype == np.float32 and np.isfinite(values).all()


@pytest.mark.parametrize("name", ["logmel", "chroma", "mfcc"])
def test_blocks_leave_no_trace(name, monkeypatch):
    wave = np.random.default_rng(1).standard_normal(50_000).astype(np.float32)
    whole = FrameFeatures(FEATURES[name])(wave)
    monkeypatch.setattr(frame_features, "BLOCK_FRAMES", 17)
    np.testing.assert_allclose(FrameFeatures(FEATURES[name])(wave), whole, atol=1e-4)


def test_a_click_is_loudest_in_the_frame_it_is_centred_on():
    wave = np.zeros(24_000, np.float32)
    wave[320 * 30] = 1.0
    energy = FrameFeatures(FEATURES["logmel"])(wave).sum(1)
    assert energy.argmax() == 30


def test_no_mel_band_is_empty():
    quiet, loud = (FrameFeatures(FEATURES["logmel"])(level * np.random.default_rng(2).standard_normal(24_000).astype(np.float32))
                   for level in (1e-3, 1.0))
    assert (loud.mean(0) > quiet.mean(0) + 1).all()


@pytest.mark.parametrize("semitone", [0, 3, 9])
def test_chroma_tells_the_pitch_class_whatever_the_octave(semitone):
    features, found = FrameFeatures(FEATURES["chroma"]), []
    for octave in (220.0, 440.0, 880.0):
        chroma = features(tone(octave * 2 ** (semitone / 12)))[38]
        found.append(chroma.argmax())
        assert chroma.max() == pytest.approx(1.0)
    expected = (9 + semitone) % 12 * 22  # from C, 22 divisions each
    assert all(min(abs(place - expected), 264 - abs(place - expected)) <= 4 for place in found)


def test_mfcc_differences_vanish_for_a_steady_tone():
    values = FrameFeatures(FEATURES["mfcc"])(tone(440))[10:60]
    assert np.abs(values[:, 13:]).max() < 0.1 * np.abs(values[:, :13]).max()


@pytest.mark.parametrize("changes, message", [({"kind": "wavelet"}, "allowed: logmel, chroma, mfcc"), ({"size": 0}, "size >= 1"),
                                              ({"window": 5000}, "window <= n_fft"), ({"f_max": 13_000.0}, "f_max <= 12000")])
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(MertError, match=message):
        FeatureConfig(**{"kind": "logmel", "size": 80, **changes})


def test_a_wave_with_nan_is_refused():
    with pytest.raises(MertError, match="not finite"):
        FrameFeatures(FEATURES["melrvq"])(np.array([0.0, np.inf], np.float32))
