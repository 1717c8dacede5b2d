"""Attention and position convolution against fairseq's, in float64: values and gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import make_conv_pos
from fairseq.modules import MultiheadAttention
from torch import nn

from mert_fairseq.models.mert.attention import SelfAttention, WrittenOutAttention
from mert_fairseq.models.mert.dropout import Dropout, draw_kept, keep
from mert_fairseq.models.mert.position_conv import PositionConv, correlate


def attention_pair(dropout=0.0):
    torch.manual_seed(0)
    reference = MultiheadAttention(24, 4, dropout=dropout, self_attention=True).double()
    return SelfAttention(copy.deepcopy(reference)), reference


PADDING = {
    "none": None,
    "some": torch.tensor([[False] * 9, [False] * 5 + [True] * 4]),
    "all but one": torch.tensor([[False] * 9, [False] + [True] * 8]),
}


@pytest.mark.parametrize("padding", PADDING.values(), ids=list(PADDING))
@pytest.mark.parametrize("grad", [True, False])  # written out, and torch's fused kernel
def test_attention_equals_fairseqs(padding, grad):
    ours, reference = attention_pair()
    x = torch.randn(9, 2, 24, dtype=torch.float64)
    with torch.set_grad_enabled(grad):
        found, _ = ours(x, key_padding_mask=padding)
        wanted, _ = reference(x, x, x, key_padding_mask=padding, need_weights=False)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    if grad:
        weights = torch.randn_like(x)
        (found * weights).sum().backward()
        (wanted * weights).sum().backward()
        for (name, mine), theirs in zip(ours.named_parameters(), dict(reference.named_parameters()).values()):
            torch.testing.assert_close(mine.grad, dict(reference.named_parameters())[name].grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("scores", [1, 1 << 17])  # one head at a time, and all at once
def test_gradients_of_the_written_out_attention(monkeypatch, scores, dropout, padded):
    kept = draw_kept((3, 5, 5), 0.3, torch.float64)
    monkeypatch.setattr("mert_fairseq.models.mert.attention.SCORES", scores)
    monkeypatch.setattr("mert_fairseq.models.mert.attention.draw_kept", lambda *_: kept)
    heads = [torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] + [True] * 4]) if padded else None
    assert torch.autograd.gradcheck(lambda q, k, v: WrittenOutAttention.apply(q, k, v, padding, dropout), heads)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_as_many_are_dropped_as_wanted(p, dtype):
    torch.manual_seed(0)
    kept = keep(torch.ones(1000, 1001, dtype=dtype), draw_kept((1000, 1001), p, dtype))
    assert kept.unique().tolist() == [0, 1]
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.002)
    # Neighbours, and the four that share a 64-bit word, are independent.
    for lag in (1, 2, 3, 4):
        both = (kept[:, lag:] * kept[:, :-lag]).float().mean().item()
        assert both == pytest.approx((1 - p) ** 2, abs=0.003)


@pytest.mark.parametrize("scores", [1, 100 // torch.get_num_threads(), 1 << 17])  # one, two, and three heads at a time
def test_attention_with_dropout_is_the_weighted_sum_of_what_was_kept(monkeypatch, scores):
    kept = draw_kept((3, 7, 7), 0.4, torch.float64)
    monkeypatch.setattr("mert_fairseq.models.mert.attention.SCORES", scores)
    monkeypatch.setattr("mert_fairseq.models.mert.attention.draw_kept", lambda *_: kept)
    q, k, v = (torch.randn(3, 7, 4, dtype=torch.float64) for _ in range(3))
    weights = ((q / 2) @ k.transpose(1, 2)).softmax(-1)
    wanted = torch.where(kept != 0, weights, 0.0) @ v / 0.6
    torch.testing.assert_close(WrittenOutAttention.apply(q, k, v, None, 0.4), wanted.transpose(0, 1))


def test_dropout_follows_the_seed_and_keeps_the_mean():
    dropout, x = Dropout(0.1), torch.ones(300, 333)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(dropout(x))
    assert draws[0].equal(draws[1]) and not draws[0].equal(draws[2])
    assert draws[0].mean().item() == pytest.approx(1.0, abs=0.01)
    assert draws[0].unique().tolist() == pytest.approx([0.0, 1 / 0.9])
    assert dropout.eval()(x) is x and Dropout(0.0)(x).equal(x) and Dropout(1.0)(x).eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dropout_passes_the_gradient_of_what_it_kept(dtype):
    x = torch.randn(50, 50, dtype=dtype).transpose(0, 1).requires_grad_()
    out = Dropout(0.4)(x)
    torch.testing.assert_close(out, torch.where(out == 0, 0.0, x / 0.6))
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0.0, 1 / 0.6).to(dtype))


def test_attention_has_fairseqs_weights_by_name():
    ours, reference = attention_pair()
    assert set(ours.state_dict()) == set(reference.state_dict())


def test_attention_dropout_acts_in_training_only():
    ours, _ = attention_pair(dropout=0.5)
    x = torch.randn(9, 2, 24, dtype=torch.float64)
    assert not torch.equal(ours(x)[0], ours(x)[0])
    ours.eval()
    torch.testing.assert_close(ours(x)[0], ours(x)[0])


def test_attention_refuses_a_mask_between_frames():
    ours, _ = attention_pair()
    with pytest.raises(ValueError, match="key_padding_mask"):
        ours(torch.randn(9, 2, 24, dtype=torch.float64), attn_mask=torch.zeros(9, 9))


@pytest.mark.parametrize("num_frames", [1, 2, 63, 64, 65, 112, 128, 129, 300])
@pytest.mark.parametrize("kernel", [128, 127, 5])
def test_correlation_equals_the_convolution(num_frames, kernel):
    x, weight = torch.randn(2, 12, num_frames, dtype=torch.float64), torch.randn(12, 4, kernel, dtype=torch.float64)
    wanted = F.conv1d(x, weight, padding=kernel // 2, groups=3)[..., :num_frames]
    torch.testing.assert_close(correlate(x, weight, 3, kernel // 2), wanted, rtol=1e-10, atol=1e-10)


def position_pair(channels=32, groups=4, kernel=128):
    torch.manual_seed(0)
    reference = make_conv_pos(channels, kernel, groups).double()
    nn.init.normal_(reference[0].bias)
    ours = PositionConv(*make_conv_pos(channels, kernel, groups).double())
    ours.load_state_dict(reference.state_dict())
    return ours, reference


@pytest.mark.parametrize("num_frames", [1, 50, 200])
@pytest.mark.parametrize("channels", [32, 96])  # by Fourier transform, and directly
@pytest.mark.parametrize("kernel", [128, 5])
def test_position_convolution_equals_fairseqs(num_frames, channels, kernel):
    ours, reference = position_pair(channels, kernel=kernel)
    found_in, wanted_in = (torch.randn(3, channels, num_frames, dtype=torch.float64, generator=torch.manual_seed(1)) for _ in range(2))
    found, wanted = ours(found_in.requires_grad_()), reference(wanted_in.requires_grad_())
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(wanted)
    (found * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(found_in.grad, wanted_in.grad, rtol=1e-8, atol=1e-9)
    theirs = dict(reference.named_parameters())
    for name, mine in ours.named_parameters():
        torch.testing.assert_close(mine.grad, theirs[name].grad, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "pos_conv,suits", [(make_conv_pos(32, 128, 4), True), (make_conv_pos(96, 128, 2), True), (make_conv_pos(32, 128, 4, True), False)]
)
def test_other_position_convolutions_are_left_alone(pos_conv, suits):
    assert PositionConv.suits(pos_conv) == suits


def test_under_autocast_the_transform_stays_in_float32():
    ours, reference = position_pair()
    x = torch.randn(2, 32, 100)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours.float()(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found.double() - reference(x.double())).abs().max() < 0.05
