"""The fast CQT against its definition (nnAudio), the published model's target, and its own promises."""

import copy
import math
from pathlib import Path

import pytest
import torch
from nnAudio.features.cqt import CQT

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.cqt import CACHED_GRIDS, FastCQT
from mert_fairseq.teachers.cqt_kernels import CQTConfig, grid_frames, kernels

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "golden_post_ln.pt"
#: One octave from C5: short kernels, quick to build; and an odd hop.
SMALL = CQTConfig(hop=251, fmin=523.2, num_bins=24, bins_per_octave=24)


def nnaudio(config):
    module = CQT(
        sr=config.sample_rate,
        hop_length=config.hop,
        fmin=config.fmin,
        n_bins=config.num_bins,
        bins_per_octave=config.bins_per_octave,
        pad_mode="constant",
        verbose=False,
    )
    return lambda wave: module(wave).transpose(1, 2)


@pytest.fixture(scope="module")
def reference():
    return nnaudio(CQTConfig())


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def sine(frequency, num_samples=24000):
    return torch.sin(2 * math.pi * frequency / 24000 * torch.arange(num_samples, dtype=torch.float64)).float()[None]


def assert_same(ours, theirs, relative=1e-4, largest=2e-4):
    assert ours.dtype == torch.float32 and ours.shape == theirs.shape
    assert (ours - theirs).norm() <= relative * theirs.norm()
    assert (ours - theirs).abs().max() <= largest * theirs.max()


@pytest.mark.parametrize("num_samples", [1, 319, 320, 321, 12345, 35999, 36000])
def test_equals_nnaudio_at_any_length(transform, reference, num_samples):
    wave = noise(1, num_samples, seed=num_samples)
    ours = transform(wave)
    assert ours.shape == (1, num_samples // 320 + 1, 336)
    assert_same(ours, reference(wave))


def test_equals_nnaudio_on_a_batch(transform, reference):
    click = torch.zeros(1, 24000)
    click[0, 11111] = 1.0
    chord = sine(32.7) + sine(440.0) + 0.3 * sine(443.0) + 0.01 * sine(4100.0) + sine(9000.0)
    wave = torch.cat([noise(1, 24000), chord, click])
    ours, theirs = transform(wave), reference(wave)
    for clip in range(len(wave)):
        assert_same(ours[clip], theirs[clip])
        assert_same(transform(wave[clip : clip + 1])[0], ours[clip], 1e-6, 1e-6)


def test_equals_the_target_of_the_published_model(transform):
    golden = torch.load(GOLDEN, weights_only=True)
    assert_same(transform(golden["source"]), golden["cqt_target"])


def test_another_configuration_and_an_odd_hop():
    wave = noise(2, 7001)
    assert_same(FastCQT(SMALL)(wave), nnaudio(SMALL)(wave))


def test_the_threshold_sets_the_error():
    wave = noise(1, 12000)
    theirs = nnaudio(SMALL)(wave)
    assert_same(FastCQT(SMALL, threshold=1e-5)(wave), theirs, 2e-5, 4e-5)
    assert (FastCQT(SMALL, threshold=1e-3)(wave) - theirs).norm() > 1e-4 * theirs.norm()


@pytest.mark.parametrize("index", [0, 47, 168, 335])
def test_a_sine_peaks_in_its_bin(transform, index):
    frequency = CQTConfig().frequency(index)
    assert frequency == pytest.approx(32.7 * 2 ** (index / 48))
    assert transform(sine(frequency))[0, 37].argmax() == index  # the middle frame


def test_frames_are_centred_on_multiples_of_the_hop(transform):
    click = torch.zeros(1, 24000)
    click[0, 320 * 20] = 1.0
    assert (transform(click)[0].argmax(dim=0) == 20).all()


def test_amplitude_scales_and_silence_is_zero(transform):
    wave = noise(1, 10000)
    assert_same(transform(wave * 4), transform(wave) * 4, 1e-6, 1e-6)
    assert (transform(torch.zeros(2, 10000)) == 0).all()


def test_nothing_of_it_is_saved_learned_or_copied(transform):
    wave = noise(1, 1000)
    model = torch.nn.ModuleDict({"cqt": transform})
    result = model["cqt"](wave)
    assert model.state_dict() == {} and not list(model.parameters()) and not list(model.buffers())
    twin = copy.deepcopy(transform)
    assert transform._grids and not twin._grids
    assert torch.equal(twin(wave), result)


def test_always_float32_and_without_gradient(transform):
    wave = noise(2, 5000).requires_grad_()
    plain = transform(wave)
    assert plain.dtype == torch.float32 and plain.is_contiguous() and not plain.requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(wave), plain)
    torch.nn.Sequential(transform).half()
    assert torch.equal(transform(wave), plain)
    assert torch.equal(transform(wave.double()), plain)
    assert transform(wave.bfloat16()).dtype == torch.float32


def test_kernels_made_in_inference_mode_serve_elsewhere():
    wave, transform = noise(1, 5000), FastCQT(SMALL)
    with torch.inference_mode():
        inside = transform(wave)
    assert torch.equal(transform(wave), inside)


def test_only_the_last_used_grids_are_kept():
    transform = FastCQT(SMALL)
    lengths = [20000 * n for n in range(1, CACHED_GRIDS + 2)]
    for num_samples in lengths:
        transform(noise(1, num_samples))
        transform(noise(1, lengths[0]))  # used again and again, so it stays
    assert len(transform._grids) == CACHED_GRIDS
    used = {frames for frames, _ in transform._grids}
    assert min(used) == grid_frames(-(-(lengths[0] + transform.reach) // SMALL.hop))


def test_building_is_quiet(capfd):
    kernels.cache_clear()
    FastCQT(SMALL)(noise(1, 1000))
    assert capfd.readouterr() == ("", "")


def test_grids_suit_the_fft():
    assert [grid_frames(n) for n in (1, 16, 17, 455, 481)] == [16, 16, 32, 480, 512]


@pytest.mark.parametrize("wave", [torch.zeros(100), torch.zeros(1, 2, 100), torch.zeros(1, 0), torch.zeros(1, 9).short()])
def test_refuses_other_waves(transform, wave):
    with pytest.raises(MertError, match="the CQT takes"):
        transform(wave)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"config": CQTConfig(num_bins=400)}, "use fewer bins"),
        ({"config": CQTConfig(bins_per_octave=12, num_bins=84)}, "too low for bins_per_octave=12"),
        ({"threshold": 0.0}, "threshold 0.0"),
    ],
)
def test_refuses_settings_it_cannot_hold(settings, message):
    with pytest.raises(MertError, match=message):
        FastCQT(**settings)


def test_refuses_a_hop_of_zero():
    with pytest.raises(MertError, match="hop=0"):
        CQTConfig(hop=0)
