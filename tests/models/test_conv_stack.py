"""The convolution stack as matrix products against fairseq's, in float64: values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import ConvFeatureExtractionModel
from torch import nn

from mert_fairseq.frames import num_conv_frames
from mert_fairseq.models.mert import conv_stack
from mert_fairseq.models.mert.conv_stack import ConvStack, GeluConv, GeluConvOfWindows, normalised_conv

PUBLISHED_SHAPE = [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2


def both(layers, seed=0):
    torch.manual_seed(seed)
    reference = ConvFeatureExtractionModel(layers, mode="default", conv_bias=False).double()
    nn.init.normal_(reference.conv_layers[0][2].weight)
    nn.init.normal_(reference.conv_layers[0][2].bias)
    # fairseq's norm goes to float32 whatever it is given; a plain one is the definition.
    norm = reference.conv_layers[0][2]
    norm.__class__ = nn.GroupNorm
    ours = ConvStack(layers).double()
    ours.load_state_dict(reference.state_dict())
    return ours, reference


@pytest.mark.parametrize("num_samples", [400, 401, 719, 720, 1280, 7_999, 24_000, 24_321])
@pytest.mark.parametrize("num_clips", [1, 3])
def test_equals_fairseqs_stack(monkeypatch, num_samples, num_clips):
    monkeypatch.setattr(conv_stack, "CHUNK", 16 * 50)  # several chunks
    ours, reference = both(PUBLISHED_SHAPE)
    waves = [torch.randn(num_clips, num_samples, dtype=torch.float64).requires_grad_()]
    waves.append(waves[0].detach().clone().requires_grad_())
    found, wanted = ours(waves[0]), reference(waves[1])
    assert found.shape == wanted.shape == (num_clips, 16, num_conv_frames(num_samples, PUBLISHED_SHAPE))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(wanted)
    for stack, out in ((ours, found), (reference, wanted)):
        (out * weights).sum().backward()
    torch.testing.assert_close(waves[0].grad, waves[1].grad, rtol=1e-7, atol=1e-7)
    for (name, mine), (_, theirs) in zip(ours.named_parameters(), reference.named_parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-7, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def test_all_clips_at_once_as_elsewhere_than_on_a_cpu(monkeypatch):
    monkeypatch.setattr(conv_stack, "_pieces", lambda blocks, width: [(slice(None), 0, blocks.size(1))])
    ours, reference = both(PUBLISHED_SHAPE)
    wave = torch.randn(3, 7_999, dtype=torch.float64)
    found, wanted = ours(wave), reference(wave)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    for stack, out in ((ours, found), (reference, wanted)):
        (out * torch.linspace(-1, 1, out.size(-1), dtype=torch.float64)).sum().backward()
    for mine, theirs in zip(ours.parameters(), reference.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("layers", [[(4, 3, 1), (5, 2, 1)], [(4, 2, 3), (6, 1, 2)], [(4, 10, 5), (6, 7, 2), (8, 4, 4)], [(4, 8, 4)]])
def test_any_kernel_and_stride(layers):
    ours, reference = both(layers)
    wave = torch.randn(2, 333, dtype=torch.float64)
    torch.testing.assert_close(ours(wave), reference(wave), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("chunk", [1, 20, 10_000])  # a block at a time, two or three, all
@pytest.mark.parametrize("kernel,stride", [(3, 2), (2, 2), (1, 2), (1, 1), (7, 2), (4, 4)])
def test_one_layer(monkeypatch, kernel, stride, chunk):
    monkeypatch.setattr(conv_stack, "CHUNK", chunk)
    rows = torch.randn(8 * stride, 3, dtype=torch.float64)
    weight = torch.randn(kernel, 3, 2, dtype=torch.float64, requires_grad=True)
    behind = F.pad(rows, (0, 0, 0, kernel)).requires_grad_()  # a window that runs over the end sees zeros
    wanted = F.conv1d(F.gelu(behind).t()[None], weight.permute(2, 1, 0), stride=stride)[0, :, :8].t()
    weights = torch.randn_like(wanted)
    of_rows, of_weight = torch.autograd.grad((wanted * weights).sum(), (behind, weight))
    leaf = rows.clone().requires_grad_()
    found = GeluConv.apply(leaf * 1.0, weight, stride)
    torch.testing.assert_close(found, wanted)
    for ours, theirs in zip(torch.autograd.grad((found * weights).sum(), (leaf, weight)), (of_rows[: len(rows)], of_weight)):
        torch.testing.assert_close(ours, theirs)


def test_a_second_backward_pass_is_refused():
    """The first one has written over what it would need."""
    out = ConvStack(PUBLISHED_SHAPE)(torch.randn(1, 2_000)).sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        out.backward()


def test_a_constant_wave_and_silence_are_finite():
    ours, reference = both(PUBLISHED_SHAPE)
    for wave in (torch.zeros(1, 2_000, dtype=torch.float64), torch.full((1, 2_000), 0.5, dtype=torch.float64)):
        torch.testing.assert_close(ours(wave), reference(wave), rtol=1e-6, atol=1e-6)
        ours(wave).sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in ours.parameters())


def test_a_quiet_wave_on_a_large_offset_keeps_its_values():
    """The norm removes the offset; taken out before the product, it costs no precision in float32."""
    ours, reference = both(PUBLISHED_SHAPE)
    wave = 0.9 + 1e-3 * torch.randn(1, 4_000, dtype=torch.float64)
    found = ours.float()(wave.float()).double()
    torch.testing.assert_close(found, reference(wave), rtol=0, atol=2e-3)


def test_rows_behind_the_valid_ones_do_not_count_in_the_norm():
    norm = nn.GroupNorm(3, 3)
    windows, weight = torch.randn(2, 20, 4), torch.randn(3, 4)
    spoiled = windows.clone()
    spoiled[:, 15:] = 1e3
    (clean, factors), (among_spoiled, same_factors) = (normalised_conv(given, weight, norm, 15) for given in (windows[:, :15], spoiled))
    torch.testing.assert_close(among_spoiled[:, :15], clean)
    torch.testing.assert_close(same_factors, factors)


def test_a_clip_does_not_hear_its_neighbour():
    ours, _ = both(PUBLISHED_SHAPE)
    wave = torch.randn(2, 3_333, dtype=torch.float64)
    other = wave.clone()
    other[1] = torch.randn(3_333)
    torch.testing.assert_close(ours(wave)[0], ours(other)[0], rtol=0, atol=0)


def test_bfloat16_is_near():
    ours, reference = both(PUBLISHED_SHAPE)
    wave = torch.randn(2, 8_000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours.float()(wave)
    assert found.dtype == torch.bfloat16
    wanted = reference(wave.double())
    assert (found.double() - wanted).norm() / wanted.norm() < 0.02


def test_many_chunks_in_bfloat16_are_no_worse_than_one(monkeypatch):
    """The weight's gradient is summed over chunks in float32."""
    rows, weight = torch.randn(4096, 8), torch.randn(3, 8, 8)
    errors = []
    for chunk in (1 << 21, 64):
        monkeypatch.setattr(conv_stack, "CHUNK", chunk)
        found = []
        for dtype in (torch.float64, torch.bfloat16):
            leaf = weight.bfloat16().to(dtype).requires_grad_()
            GeluConv.apply(rows.bfloat16().to(dtype), leaf, 2).sum().backward()
            found.append(leaf.grad.double())
        errors.append(float((found[1] - found[0]).norm() / found[0].norm()))
    assert errors[1] < 1.5 * errors[0] + 1e-3


@pytest.mark.parametrize("rows", [8, 6_000])
def test_first_convolutions_in_bfloat16_have_the_gradients_of_float64(rows):
    """Of windows, factors and weight, from rounded inputs; many rows are summed in float32."""
    torch.manual_seed(0)
    given = [tensor.bfloat16() for tensor in (torch.randn(2, rows, 11), torch.randn(2, 11, 32) / 4, torch.randn(3, 32, 32) / 8)]
    grad, results = torch.randn(rows, 32).bfloat16(), []
    for dtype in (torch.bfloat16, torch.float64):
        inputs = [tensor.to(dtype).requires_grad_() for tensor in given]
        out = GeluConvOfWindows.apply(*inputs, 2)
        results.append([out, *torch.autograd.grad(out, inputs, grad.to(dtype))])
    for found, wanted in zip(*results):
        assert (found.double() - wanted).norm() < 0.02 * wanted.norm()
