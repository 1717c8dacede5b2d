"""The pre-LN model (330M's kind) against an independent implementation, which is first held against the published code's values.

The bounds are those of test_golden.py: loss terms 1e-5 and gradients 1e-4 relative, hidden states 1e-5 absolute.
"""

import pytest
import torch
from reference_mert import Sizes, encode, leaves, loss
from test_golden import GOLDEN, TaskSettings, case_inputs, run_case, tiny_config

from mert_fairseq.models.mert import MERTModel

CASES = ["main", "odd", "padded", "trim"]
POST_LN = Sizes(num_heads=4, num_classes=(1028,) * 8, feature_grad_mult=0.1)
PRE_LN = Sizes(num_heads=4, num_classes=(1028,) * 8, pre_ln=True, attention_relax=32.0, feature_grad_mult=1.0)


@pytest.fixture(scope="module")
def golden():
    return torch.load(GOLDEN, weights_only=True)


@pytest.fixture(scope="module")
def model():
    """A pre-LN model none of whose parameters can be mistaken for another or be left out unnoticed."""
    torch.manual_seed(0)
    model = MERTModel(tiny_config(layer_norm_first=True, attention_relax=32.0, feature_grad_mult=1.0), TaskSettings, [1024] * 8)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # norms and biases start as ones and zeros
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
            elif name.startswith("encoder.layers."):  # initialised so small that attention is flat
                parameter *= 5
    return model.eval()


@pytest.fixture(scope="module")
def references(golden, model):
    """Loss and gradients by the independent implementation in float64, for each case of either kind."""
    found = {}

    def reference(kind, name):
        if (kind, name) not in found:
            state = leaves(golden["state_dict"] if kind == "post" else model.state_dict())
            source, targets, padding = case_inputs(golden, name)
            sizes = POST_LN if kind == "post" else PRE_LN
            result = loss(state, sizes, source.double(), targets, golden[name]["mask_indices"], padding)
            result.total.backward()
            found[kind, name] = result, {key: tensor.grad for key, tensor in state.items()}
        return found[kind, name]

    return reference


def assert_relative(ours, theirs, bound=1e-5):
    torch.testing.assert_close(ours.detach().double(), theirs.detach().double(), rtol=bound, atol=0)


def assert_gradients(ours, theirs):
    """Within 1e-4 of each parameter's norm; key biases, zero in exact arithmetic, within 1e-4 of the whole."""
    assert set(ours) == set(theirs)
    whole = torch.stack([gradient.double().norm() for gradient in theirs.values()]).norm()
    for name, gradient in theirs.items():
        error, size = (ours[name].double() - gradient.double()).norm(), gradient.double().norm()
        assert error <= 1e-4 * size or (name.endswith("k_proj.bias") and error <= 1e-4 * whole), (name, float(error / size))
        assert size > 0


# The independent implementation is the published model.


@pytest.mark.parametrize("name", CASES)
def test_reference_gives_the_published_loss(golden, references, name):
    result, _ = references("post", name)
    case = golden[name]
    assert result.num_masked == case["sample_size"]
    assert_relative(result.cross_entropy, case["ce_masked_sum_per_codebook"])
    assert_relative(result.features_pen, case["features_pen"])
    assert_relative(result.cqt_mse, case["cqt_pred_m"])
    assert_relative(result.total, case["loss_total_sum"])
    assert result.hits == [int(case["criterion_log"][f"correct_m_{codebook}"]) for codebook in range(8)]


def test_reference_gives_the_published_gradients(golden, references):
    _, gradients = references("post", "main")
    assert_gradients(gradients, golden["main"]["grads"])


@pytest.mark.parametrize("key, name", [("hidden", "main"), ("hidden_odd", "odd"), ("hidden_padded", "padded")])
def test_reference_gives_the_published_hidden_states(golden, key, name):
    source, _, padding = case_inputs(golden, name)
    with torch.no_grad():
        encoded = encode(leaves(golden["state_dict"]), POST_LN, source.double(), padding if name == "padded" else None)
    states = {"layer_1": encoded.hidden[0], "layer_2": encoded.hidden[1], "final": encoded.final, "ret_conv": encoded.projected}
    for field, state in states.items():
        torch.testing.assert_close(state.float(), golden[key][field], rtol=0, atol=1e-5)


def test_reference_needs_no_double_precision(golden):
    source, targets, padding = case_inputs(golden, "main")
    with torch.no_grad():
        result = loss(golden["state_dict"], POST_LN, source, targets, golden["main"]["mask_indices"], padding)
    assert result.total.dtype == torch.float32
    assert_relative(result.total, golden["main"]["loss_total_sum"])


# The package's pre-LN model is the independent implementation.


def test_pre_ln_has_the_published_names(golden, model):
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == {name: tuple(tensor.shape) for name, tensor in golden["state_dict"].items()}


@pytest.mark.parametrize("name", CASES)
def test_pre_ln_loss_and_gradients(golden, model, references, name):
    result, gradients = references("pre", name)
    total, sample_size, log = run_case(model, golden, name)
    assert sample_size == result.num_masked
    assert_relative(torch.stack([log[f"loss_m_{codebook}"] for codebook in range(8)]), result.cross_entropy)
    assert_relative(log["loss_features_pen"] / sample_size, result.features_pen)
    assert_relative(log["loss_cqt_m"] / sample_size, result.cqt_mse)
    assert_relative(total, result.total)
    assert [int(log[f"correct_m_{codebook}"]) for codebook in range(8)] == result.hits
    assert_gradients({key: parameter.grad for key, parameter in model.named_parameters()}, gradients)


@pytest.mark.parametrize("name", CASES)
def test_pre_ln_hidden_states_of_every_layer(golden, model, name):
    source, _, padding = case_inputs(golden, name)
    padding = padding if name == "padded" else None
    with torch.no_grad():
        encoded = encode(leaves(model.state_dict()), PRE_LN, source.double(), padding)
        wanted = [({"output_layer": number + 1}, state) for number, state in enumerate(encoded.hidden)]
        wanted += [({}, encoded.final), ({"ret_conv": True}, encoded.projected)]
        for options, state in wanted:
            ours, ours_padding = model.extract_features(source, padding_mask=padding, **options)
            torch.testing.assert_close(ours, state.float(), rtol=0, atol=1e-5)
            assert (ours_padding is None) == (padding is None) and (padding is None or ours_padding.equal(encoded.padding))
    assert len(encoded.hidden) == 2 and (encoded.final - encoded.hidden[-1]).abs().max() > 0.1


def test_attention_relaxation_changes_nothing(golden, model):
    """softmax((a / c - max(a / c)) * c) is softmax(a), which is why the package runs the plain one."""
    source, _, _ = case_inputs(golden, "main")
    with torch.no_grad():
        relaxed = encode(leaves(model.state_dict()), PRE_LN, source.double()).final
        plain = encode(leaves(model.state_dict()), Sizes(4, (1028,) * 8, pre_ln=True), source.double()).final
    torch.testing.assert_close(relaxed, plain, rtol=0, atol=1e-10)
