"""Layers compiled, with GELU and linear layer in one, or computed again for the gradients: the same numbers in every form."""

import re

import pytest
import torch
import torch.nn.functional as F
from functorch.compile import make_boxed_func
from test_golden import TaskSettings, tiny_config
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from mert_fairseq.models.mert import MERTModel
from mert_fairseq.models.mert.gelu_linear import GeluLinear

# torch.compile.


def model_and_batch(**changes):
    torch.manual_seed(0)
    model = MERTModel(tiny_config(encoder_layers=2, audio_cqt_loss_m=False, **changes), TaskSettings, [8, 8])
    return model, (torch.randn(2, 8_000), [torch.randint(4, 12, (2, 25)) for _ in range(2)])


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_compiled_layers_have_the_same_loss_and_gradients(dropout):
    """With dropout too, which draws the same."""
    losses, gradients = [], []
    for compiled in (False, True):
        model, batch = model_and_batch(compile=compiled, dropout=dropout, attention_dropout=dropout)
        torch.manual_seed(5)
        loss = model(*batch)["codes_m"].losses.sum()
        loss.backward()
        assert model.encoder.compiled == compiled  # or it would have gone on without
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
    assert failures(caplog) == ["RuntimeError: no C++ compiler here"]
    model(*batch)  # and is not tried again
    assert len(failures(caplog)) == 1


def failures(caplog):
    found = [re.search(r"torch.compile failed \((.*)\); training goes on", record.message) for record in caplog.records]
    return [match[1] for match in found if match]


def test_where_compiling_the_backward_pass_fails_training_goes_on(monkeypatch, caplog):
    def no_kernel(graph, inputs):
        raise RuntimeError("no kernel for the backward pass\nand a second line")

    backend = aot_autograd(fw_compiler=lambda graph, inputs: make_boxed_func(graph.forward), bw_compiler=no_kernel)
    compile_with = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_with(self, backend=backend))
    gradients = []
    for compiled in (True, False):
        model, batch = model_and_batch(compile=compiled)
        model(*batch)["codes_m"].losses.sum().backward()
        gradients.append(model.encoder.layers[0].fc1.weight.grad)
    assert gradients[0].equal(gradients[1])
    assert failures(caplog) == ["RuntimeError: no kernel for the backward pass"]


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
