"""The quick padding is EnCodec's own, bit for bit, at every length."""

import pytest
import torch
from encodec.modules import SConv1d, SEANetEncoder

from mert_fairseq.teachers.causal_padding import CausalConv1d, pad_quickly


@pytest.mark.parametrize("kernel, stride, dilation", [(7, 1, 1), (3, 1, 2), (4, 2, 1), (16, 8, 1), (1, 1, 1)])
@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 16, 17, 100, 321])
def test_one_convolution(kernel, stride, dilation, length):
    torch.manual_seed(0)
    convolution = SConv1d(3, 4, kernel, stride, dilation=dilation, causal=True, norm="none")
    x = torch.randn(2, 3, length)
    expected = convolution(x)
    pad_quickly(convolution)
    assert type(convolution) is CausalConv1d and torch.equal(convolution(x), expected)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_whole_encoder_and_its_gradients():
    torch.manual_seed(0)
    encoder = SEANetEncoder(causal=True, norm="weight_norm", n_filters=2, dimension=4)
    names = list(encoder.state_dict())
    x = torch.randn(2, 1, 3333, requires_grad=True)
    expected = encoder(x)
    [gradient] = torch.autograd.grad(expected.square().sum(), x)
    pad_quickly(encoder)
    found = encoder(x)
    assert torch.equal(found, expected) and list(encoder.state_dict()) == names
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], gradient, rtol=1e-4, atol=1e-5)


def test_other_convolutions_stay():
    convolution = SConv1d(1, 1, 3, causal=False)
    pad_quickly(convolution)
    assert type(convolution) is SConv1d
