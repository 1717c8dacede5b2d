"""What runs otherwise in bfloat16 on a CPU, against the same in float64: values and gradients, to bfloat16's rounding."""

import pytest
import torch
from fairseq.models.wav2vec.wav2vec2 import make_conv_pos
from fairseq.modules import MultiheadAttention
from torch import nn

from mert_fairseq.models.mert.attention import SelfAttention, WrittenOutAttention
from mert_fairseq.models.mert.dropout import draw_kept
from mert_fairseq.models.mert.head_projections import project_heads, suits
from mert_fairseq.models.mert.position_conv import ROWS, PositionConv


def assert_rounded(found, wanted, share=0.02):
    """Every tensor differs by less than this share of its largest value."""
    for number, (one, other) in enumerate(zip(found, wanted)):
        assert (one.double() - other).abs().max() < share * other.abs().max(), number


def test_attention_keeps_the_weights_that_were_drawn(monkeypatch):
    """There they are kept for the backward pass, in float64 computed again."""
    kept = draw_kept((3, 70, 70), 0.4, torch.bfloat16)
    monkeypatch.setattr("mert_fairseq.models.mert.attention.draw_kept", lambda *_: kept)
    heads, grad = [torch.randn(3, 70, 16).bfloat16() for _ in range(3)], torch.randn(70, 3, 16).bfloat16()
    padding = torch.arange(70).expand(3, 70) >= 60
    results = []
    for dtype in (torch.bfloat16, torch.float64):
        inputs = [head.to(dtype).requires_grad_() for head in heads]
        out = WrittenOutAttention.apply(*inputs, padding, 0.4)
        results.append([out, *torch.autograd.grad(out, inputs, grad.to(dtype))])
    assert_rounded(*results)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_what_keys_and_values_have_in_common_cancels_in_the_gradients(monkeypatch, dropout):
    """As behind a layer norm with biases; of a query's gradient it was a third."""
    torch.manual_seed(0)
    kept = draw_kept((4, 374, 374), 0.3, torch.bfloat16)
    monkeypatch.setattr("mert_fairseq.models.mert.attention.draw_kept", lambda *_: kept)
    heads = [(torch.randn(4, 374, 64) + offset * torch.randn(4, 1, 64)).bfloat16() for offset in (0, 3, 3)]
    grad, results = torch.randn(374, 4, 64).bfloat16(), []
    for dtype in (torch.bfloat16, torch.float64):
        inputs = [head.to(dtype).requires_grad_() for head in heads]
        results.append(torch.autograd.grad(WrittenOutAttention.apply(*inputs, None, dropout), inputs, grad.to(dtype)))
    for found, wanted in zip(*results):
        assert (found.double() - wanted).norm() < 0.05 * wanted.norm()


@pytest.mark.parametrize("num_frames, num_clips", [(1, 1), (50, 3)])
def test_queries_keys_and_values_of_one_product_are_those_of_three(monkeypatch, num_frames, num_clips):
    torch.manual_seed(0)
    attention = SelfAttention(MultiheadAttention(96, 4, self_attention=True))
    for parameter in attention.parameters():  # none of whose gradients may be lost in another's
        nn.init.normal_(parameter, std=0.2)
    x, grad = torch.randn(num_frames, num_clips, 96), torch.randn(num_frames, num_clips, 96).bfloat16()
    results = []
    for joined in (True, False):
        monkeypatch.setattr("mert_fairseq.models.mert.attention.suits", lambda *_, joined=joined: joined)
        given = x.clone().requires_grad_()
        attention.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = attention(given)[0]
        out.backward(grad)
        results.append([out, given.grad, *(parameter.grad for parameter in attention.parameters())])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=0, atol=0.02 * other.abs().max().item())


def test_heads_are_those_of_each_projection():
    projections, x = [nn.Linear(12, 24) for _ in range(3)], torch.randn(5, 2, 12)
    with torch.autocast("cpu", torch.bfloat16):
        assert suits(x, projections)
        for heads, projection in zip(project_heads(x, projections, 4), projections):
            wanted = projection(x).view(5, 8, 6).transpose(0, 1)
            assert heads.dtype == torch.bfloat16
            assert_rounded([heads], [wanted.double()])
    assert not suits(x, projections)
    with torch.autocast("cpu", torch.bfloat16):
        assert not suits(x, [*projections[:2], nn.Linear(12, 24, bias=False)])
        assert not suits(x, [*projections[:2], nn.Linear(12, 12)])


@pytest.mark.parametrize("num_frames", [1, 63, 128, ROWS, 2 * ROWS + 1])
@pytest.mark.parametrize("kernel", [128, 127, 4])
def test_position_convolution_equals_that_of_float64(num_frames, kernel):
    """With more channels per group than are transformed."""
    torch.manual_seed(0)
    reference = make_conv_pos(96, kernel, 2).double()
    ours = PositionConv(*make_conv_pos(96, kernel, 2))
    ours.load_state_dict(reference.state_dict())
    x, grad = torch.randn(2, 96, num_frames).bfloat16(), torch.randn(2, 96, num_frames).bfloat16()
    results = []
    for module, dtype in ((ours, torch.bfloat16), (reference, torch.float64)):
        given = x.detach().to(dtype, copy=True).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=module is ours):
            out = module(given)
        out.backward(grad.to(dtype))
        results.append([out.detach(), given.grad, *(parameter.grad for parameter in module.parameters())])
    assert_rounded(*results, 0.05)
