"""The quick padding is EnCodec's own, bit for bit, at every length; its residual blocks are equal to rounding."""

import pytest
import torch
from encodec.modules import SConv1d, SEANetEncoder
from encodec.modules.seanet import SEANetResnetBlock

from mert_fairseq.teachers.causal_convolutions import CausalConv1d, ResidualBlock, quicken


@pytest.mark.parametrize("kernel, stride, dilation", [(7, 1, 1), (3, 1, 2), (4, 2, 1), (16, 8, 1), (1, 1, 1)])
@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 16, 17, 100, 321])
def test_one_convolution(kernel, stride, dilation, length):
    torch.manual_seed(0)
    convolution = SConv1d(3, 4, kernel, stride, dilation=dilation, causal=True, norm="none")
    x = torch.randn(2, 3, length)
    expected = convolution(x)
    quicken(convolution)
    assert type(convolution) is CausalConv1d and torch.equal(convolution(x), expected)


@pytest.mark.parametrize("channels, stride, dtype", [
    (2, 2, torch.float32), (8, 4, torch.float32), (16, 8, torch.float32), (32, 8, torch.bfloat16), (16, 1, torch.bfloat16)])
@pytest.mark.parametrize("length", [3, 1000])
def test_bfloat16_is_close(channels, stride, dtype, length):
    """Where a processor gives noise for few channels and large strides, float32 is used."""
    torch.manual_seed(0)
    convolution = SConv1d(channels, 32, 2 * stride, stride, causal=True, norm="none").requires_grad_(False)
    quicken(convolution)
    x = torch.randn(2, channels, length)
    expected = convolution(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = convolution(x)
    assert found.dtype == dtype and (found - expected).norm() < 0.02 * expected.norm()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_whole_encoder_and_its_gradients():
    torch.manual_seed(0)
    encoder = SEANetEncoder(causal=True, norm="weight_norm", n_filters=2, dimension=4)
    names = list(encoder.state_dict())
    x = torch.randn(2, 1, 3333, requires_grad=True)
    expected = encoder(x)
    [gradient] = torch.autograd.grad(expected.square().sum(), x)
    quicken(encoder)
    found = encoder(x)
    assert torch.equal(found, expected) and list(encoder.state_dict()) == names
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], gradient, rtol=1e-4, atol=1e-5)


def test_other_convolutions_stay():
    convolution = SConv1d(1, 1, 3, causal=False)
    quicken(convolution)
    assert type(convolution) is SConv1d


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("length", [1, 2, 3, 4, 100])
def test_a_residual_block(length):
    torch.manual_seed(0)
    block = SEANetResnetBlock(8, [3, 1], causal=True, true_skip=False).double()
    x = torch.randn(2, 8, length, dtype=torch.float64)
    expected, kept = block(x), x.clone()
    quicken(block)
    assert type(block) is ResidualBlock
    assert torch.equal(block(x), expected)  # with gradients: EnCodec's own
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(x, kept)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_residual_block_takes_weights_that_were_just_loaded():
    torch.manual_seed(0)
    block, other = (SEANetResnetBlock(8, [3, 1], causal=True, true_skip=False) for _ in range(2))
    quicken(block)
    block.load_state_dict(other.state_dict())
    x = torch.randn(1, 8, 50)
    with torch.no_grad():
        torch.testing.assert_close(block(x), other(x), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("options", [{"true_skip": True}, {"dilations": [2, 1]}, {"kernel_sizes": [3, 3]}, {"causal": False}])
def test_other_residual_blocks_stay(options):
    block = SEANetResnetBlock(8, **{"kernel_sizes": [3, 1], "causal": True, "true_skip": False, **options})
    quicken(block)
    assert type(block) is SEANetResnetBlock
