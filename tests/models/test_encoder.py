"""Attention and position convolution against fairseq's, in float64: values and gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import make_conv_pos
from fairseq.modules import MultiheadAttention
from test_golden import TaskSettings, tiny_config
from torch import nn

from mert_fairseq.models.mert import MERTModel
from mert_fairseq.models.mert.attention import SelfAttention, WrittenOutAttention
from mert_fairseq.models.mert.dropout import Dropout, draw_dropped, draw_kept
from mert_fairseq.models.mert.gelu_linear import GeluLinear
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
def test_gradients_of_the_written_out_attention(monkeypatch, dropout, padded):
    signs = draw_dropped(0.3, torch.empty(3, 5, 5, dtype=torch.float64))
    monkeypatch.setattr("mert_fairseq.models.mert.attention.draw_dropped", lambda p, out: signs)
    heads = [torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] + [True] * 4]) if padded else None
    assert torch.autograd.gradcheck(lambda q, k, v: WrittenOutAttention.apply(q, k, v, padding, dropout), heads)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_wanted(p):
    torch.manual_seed(0)
    kept = draw_kept((1000, 1001), p)
    assert kept.unique().tolist() == [0, 1]
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.002)
    # Neighbours, and the four that share a 64-bit word, are independent.
    for lag in (1, 2, 3, 4):
        both = (kept[:, lag:] * kept[:, :-lag]).float().mean().item()
        assert both == pytest.approx((1 - p) ** 2, abs=0.003)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_signs_drop_as_many_as_wanted(dtype):
    signs = draw_dropped(0.1, torch.empty(1000, 1000, dtype=dtype))
    assert (signs < 0).double().mean().item() == pytest.approx(0.9, abs=0.002)


def test_attention_with_dropout_is_the_weighted_sum_of_what_was_kept(monkeypatch):
    signs = draw_dropped(0.4, torch.empty(3, 7, 7, dtype=torch.float64))
    monkeypatch.setattr("mert_fairseq.models.mert.attention.draw_dropped", lambda p, out: signs)
    q, k, v = (torch.randn(3, 7, 4, dtype=torch.float64) for _ in range(3))
    weights = ((q / 2) @ k.transpose(1, 2)).softmax(-1)
    wanted = torch.where(signs < 0, weights, 0.0) @ v / 0.6
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


def test_dropout_passes_the_gradient_of_what_it_kept():
    x = torch.randn(50, 50, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0.0, 1 / 0.6))


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


# torch.compile.


def model_and_batch(**changes):
    torch.manual_seed(0)
    model = MERTModel(tiny_config(encoder_layers=2, audio_cqt_loss_m=False, **changes), TaskSettings, [8, 8])
    return model, (torch.randn(2, 8_000), [torch.randint(4, 12, (2, 25)) for _ in range(2)])


def test_compiled_layers_have_the_same_loss_and_gradients():
    losses, gradients = [], []
    for compiled in (False, True):
        model, batch = model_and_batch(compile=compiled)
        loss = model(*batch)["codes_m"].losses.sum()
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    for name, gradient in gradients[0].items():
        if gradient is not None:
            torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert set(gradients[0]) == set(gradients[1])  # and so the checkpoint's names


def test_where_compiling_fails_training_goes_on(monkeypatch, caplog):
    def no_compiler(graph, inputs):
        raise RuntimeError("no C++ compiler here")

    compile_with = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_with(self, backend=no_compiler))
    model, batch = model_and_batch(compile=True)
    plain, _ = model_and_batch()
    assert model(*batch)["codes_m"].losses.equal(plain(*batch)["codes_m"].losses)
    assert len([record for record in caplog.records if "torch.compile failed" in record.message]) == 1
    model(*batch)  # and is not tried again
    assert len([record for record in caplog.records if "torch.compile failed" in record.message]) == 1


def test_a_fault_of_the_batch_is_not_taken_for_one_of_the_compiler(monkeypatch):
    model, (source, targets) = model_and_batch(compile=True)
    with pytest.raises(RuntimeError):
        model.encoder(torch.randn(2, 25, 7))


# GELU and linear layer.


def test_gelu_and_linear_layer_in_one():
    linear = nn.Linear(6, 4).double()
    ours = GeluLinear.like(linear)
    assert set(ours.state_dict()) == {"weight", "bias"} and ours.weight is linear.weight
    x = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(x), linear(F.gelu(x)), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x, weight, bias: torch.func.functional_call(ours, {"weight": weight, "bias": bias}, x),
                                    (x, linear.weight, linear.bias))


@pytest.mark.parametrize("changes,kept", [({}, True), ({"activation_dropout": 0.1}, False), ({"activation_fn": "relu"}, False)])
def test_where_gelu_and_linear_layer_are_one(changes, kept):
    model, batch = model_and_batch(**changes)
    layer = model.encoder.layers[0]
    assert isinstance(layer.fc2, GeluLinear) == kept
    x = torch.randn(2, 25, 48)
    model.eval()
    expected = layer.fc2(layer.activation_fn(layer.fc1(x)))
    activation = F.relu if "activation_fn" in changes else F.gelu
    torch.testing.assert_close(expected, F.linear(activation(layer.fc1(x)), layer.fc2.weight, layer.fc2.bias), rtol=1e-5, atol=1e-6)


def test_checkpointed_activations_have_the_same_gradients():
    """The layers run twice, without and with gradients, and must drop the same."""
    gradients = []
    for checkpointed in (False, True):
        model, batch = model_and_batch(dropout=0.1, attention_dropout=0.3, checkpoint_activations=checkpointed)
        torch.manual_seed(5)
        model.train()(*batch)["codes_m"].losses.sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=lambda text, name=name: f"{name}: {text}")
