"""SDR and the Wiener filter against cases worked by hand and the libraries they follow."""

import math

import numpy as np
import pytest
import torch

from mert_fairseq.probe.separation.inference import split
from mert_fairseq.probe.separation.scoring import global_sdr, median_sdr
from mert_fairseq.probe.separation.spectrogram import inverse_stft, mono_magnitude, num_frames, stft
from mert_fairseq.probe.separation.wiener import wiener_filter


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_global_sdr_by_hand():
    reference = torch.tensor([[1.0, -1.0], [2.0, 0.0]])  # energy 6
    assert global_sdr(reference, reference / 2) == pytest.approx(10 * math.log10(6 / 1.5), abs=1e-6)
    assert global_sdr(reference, torch.tensor([[1.0, -1.0], [0.0, 0.0]])) == pytest.approx(10 * math.log10(6 / 4), abs=1e-6)
    assert global_sdr(reference, torch.zeros(2, 2)) == pytest.approx(0, abs=1e-6)
    assert global_sdr(reference, reference) == pytest.approx(10 * math.log10(6 / 1e-7 + 1), abs=1e-6)
    assert global_sdr(torch.zeros(1, 2), torch.zeros(1, 2)) == 0
    assert global_sdr(torch.zeros(1, 2), torch.ones(1, 2)) == pytest.approx(10 * math.log10(1e-7 / 2), abs=1e-4)


def test_median_sdr_by_hand():
    """Three windows of two samples at 0, 20 and 6.02 dB, a silent one, and a rest."""
    reference = torch.tensor([[[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 5.0]]])
    estimated = torch.tensor([[[0.0, 2.0, 0.9, 1.1, 0.5, 0.5, 3.0, 3.0, 0.0]]])
    assert median_sdr(reference, estimated, 2) == pytest.approx([10 * math.log10(4)], abs=1e-5)
    assert np.isnan(median_sdr(torch.zeros(1, 1, 4), torch.ones(1, 1, 4), 2)).all()


def test_median_sdr_is_musevals():
    metrics = pytest.importorskip("museval.metrics")
    references, estimated = noise(4, 2, 4_000), noise(4, 2, 4_000, seed=1) * 0.3
    estimated += references
    references[2, :, 1_000:2_000] = 0
    estimated[1, :, 3_000:4_000] = 0
    waves = [wave.transpose(1, 2).double().numpy() for wave in (references, estimated)]
    theirs = metrics.bss_eval(*waves, window=500, hop=500, filters_len=8)
    np.testing.assert_allclose(median_sdr(references, estimated, 500), np.nanmedian(theirs[0], axis=1), atol=1e-6)


def test_spectrum_goes_back_to_the_wave_and_frames_lie_on_the_hop():
    wave = noise(2, 24_123)
    spectrum = stft(wave)
    assert spectrum.shape == (2, num_frames(24_123), 1025) == (2, 76, 1025)
    torch.testing.assert_close(inverse_stft(spectrum, 24_123), wave, atol=1e-5, rtol=0)
    click = torch.zeros(1, 1, 24_000)
    click[..., 320 * 40] = 1
    assert mono_magnitude(click)[0].sum(-1).argmax() == 40
    torch.testing.assert_close(mono_magnitude(wave[None])[0], spectrum.abs().mean(0))


def test_wiener_filter_by_hand():
    """One channel: the spatial covariance is 1, so each part gets the share of its power."""
    mixture = torch.tensor([[[3.0 + 4.0j, 2.0j]]])  # [1, 1, 2]
    magnitude = torch.tensor([[[[3.0, 0.5]]]])  # beside it are left 2 and 1.5, with the mixture's phase
    found = wiener_filter(magnitude, mixture)
    shares = torch.tensor([[9 / 13, 0.25 / 2.5], [4 / 13, 2.25 / 2.5]])
    torch.testing.assert_close(found[:, 0, 0], shares * mixture[0], atol=1e-4, rtol=0)
    begun = wiener_filter(magnitude, mixture, iterations=0)
    torch.testing.assert_close(begun[0, 0, 0], torch.tensor([1.8 + 2.4j, 0.5j]))


@pytest.mark.parametrize("channels", [1, 2])
def test_parts_add_up_to_the_mixture_and_true_magnitudes_separate_well(channels):
    time_s = torch.arange(24_000) / 24_000
    tone = 0.1 * torch.sin(2 * math.pi * 440 * time_s) * torch.tensor([[1.0], [0.4]])[:channels]
    hiss = noise(channels, 24_000) * (time_s % 0.25 < 0.125)
    mixture = stft(tone + hiss)
    parts = wiener_filter(torch.stack([stft(tone).abs()]), mixture)
    torch.testing.assert_close(parts.sum(0), mixture, atol=1e-3 * float(mixture.abs().max()), rtol=0)
    for part, stem in zip(parts, (tone, hiss)):
        assert global_sdr(stem, inverse_stft(part, 24_000)) > 14 > 10 + global_sdr(stem, tone + hiss)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_wiener_filter_is_open_unmixs(channels, iterations):
    theirs = pytest.importorskip("openunmix.filtering")
    mixture = stft(noise(channels, 6_000))
    magnitudes = torch.stack([stft(noise(channels, 6_000, seed=seed)).abs() for seed in (1, 2)])
    magnitudes[:, -1:] = 0  # nothing of it in one channel
    spectrum = torch.view_as_real(mixture.permute(1, 2, 0)).double()
    wanted = theirs.wiener(magnitudes.permute(2, 3, 1, 0).double(), spectrum, iterations, residual=True)
    wanted = torch.view_as_complex(wanted.movedim(3, 4).contiguous()).permute(3, 2, 0, 1)
    torch.testing.assert_close(wiener_filter(magnitudes, mixture, iterations), wanted.to(torch.complex64), atol=1e-5, rtol=1e-4)


def test_songs_longer_than_a_window_are_split_whole_in_every_mode():
    left, right = noise(1, 24_000 * 9), noise(1, 24_000 * 9, seed=1)
    mixture = torch.cat([left, right])
    spectra = [stft(torch.cat(pair)) for pair in ((left, 0 * right), (0 * left, right))]
    total = stft(mixture).abs().mean(0)
    masks = {stem: spectrum.abs().mean(0) / total for stem, spectrum in zip(("vocals", "bass"), spectra)}
    for wiener in ("none", "alone", "together"):
        found = split(masks, mixture, wiener)
        assert list(found) == ["vocals", "bass"] and all(wave.shape == mixture.shape for wave in found.values())
        torch.testing.assert_close(found["vocals"] + found["bass"], mixture, atol=0.05 if wiener == "alone" else 1e-3, rtol=0)
    silent = split({"vocals": torch.zeros(676, 1025)}, mixture, "alone")["vocals"]
    assert silent.abs().max() < 1e-3
