"""Our model and criterion against recorded values of the published code (tests/golden)."""

from pathlib import Path

import pytest
import torch

from mert_fairseq.criterions import MERTCriterion
from mert_fairseq.models.mert import MERTConfig, MERTModel

GOLDEN = Path(__file__).parents[1] / "golden" / "golden_post_ln.pt"


class TaskSettings:
    sample_rate = 24_000


def tiny_config(**changes) -> MERTConfig:
    """The configuration of the golden file: every dropout 0, no mixup."""
    values = dict(
        label_rate=75.0,
        seed=1,
        encoder_layers=2,
        encoder_embed_dim=48,
        encoder_ffn_embed_dim=96,
        encoder_attention_heads=4,
        dropout=0.0,
        attention_dropout=0.0,
        encoder_layerdrop=0.0,
        dropout_input=0.0,
        dropout_features=0.0,
        final_dim=16,
        conv_feature_layers="[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2",
        mixture_prob=-1.0,
    )
    return MERTConfig(**{**values, **changes})


@pytest.fixture(scope="module")
def golden():
    return torch.load(GOLDEN, weights_only=True)


@pytest.fixture(scope="module")
def model(golden):
    model = MERTModel(tiny_config(), TaskSettings, [1024] * 8)
    model.load_state_dict(golden["state_dict"], strict=True)
    return model.eval()


def case_inputs(golden, name):
    source, codes = golden["source"].clone(), golden["codes_dict_index"].long()
    padding_mask = torch.zeros(source.shape, dtype=torch.bool)
    if name == "odd":
        source, codes, padding_mask = source[:, :35680], codes[..., :112], padding_mask[:, :35680]
    if name == "padded":
        source[1, -9000:], padding_mask[1, -9000:], codes[:, 1, 84:] = 0, True, 1
    if name == "trim":
        codes = codes[..., :100]
    return source, list(codes), padding_mask


def run_case(model, golden, name):
    source, targets, padding_mask = case_inputs(golden, name)
    sample = {
        "id": torch.arange(2),
        "target_list": targets,
        "net_input": {"source": source, "padding_mask": padding_mask, "mask_indices": golden[name]["mask_indices"]},
    }
    model.zero_grad()
    loss, sample_size, log = MERTCriterion(None, 1.0, 0.0)(model, sample)
    loss.backward()
    return loss, sample_size, log


def test_state_dict_names_and_shapes_are_the_published_ones(golden, model):
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == {name: tuple(tensor.shape) for name, tensor in golden["state_dict"].items()}


@pytest.mark.parametrize("name", ["main", "odd", "padded", "trim"])
def test_loss_terms(golden, model, name):
    loss, sample_size, log = run_case(model, golden, name)
    case = golden[name]
    assert sample_size == case["sample_size"]
    ours = torch.stack([log[f"loss_m_{k}"] for k in range(8)]).double()
    torch.testing.assert_close(ours, case["ce_masked_sum_per_codebook"].double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(log["loss_features_pen"] / sample_size, case["features_pen"], rtol=1e-5, atol=0)
    torch.testing.assert_close(log["loss_cqt_m"] / sample_size, case["cqt_pred_m"], rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.detach().double(), case["loss_total_sum"].double(), rtol=1e-5, atol=0)
    published = case["criterion_log"]
    assert [int(log[f"correct_m_{k}"]) for k in range(8)] == [int(published[f"correct_m_{k}"]) for k in range(8)]
    assert log["loss_m_0"].requires_grad is False


def test_gradients(golden, model):
    run_case(model, golden, "main")
    parameters = dict(model.named_parameters())
    assert set(golden["main"]["grads"]) <= set(parameters)
    for name, reference in golden["main"]["grads"].items():
        error = (parameters[name].grad - reference).norm() / reference.norm().clamp_min(1e-12)
        # A gradient that is zero in exact arithmetic (key biases) holds rounding noise on both sides.
        assert error <= 1e-4 or reference.norm() < 1e-4 * golden["main"]["total_grad_norm"], (name, float(error))


@pytest.mark.parametrize("name", ["odd", "padded", "trim"])
def test_gradient_norms(golden, model, name):
    run_case(model, golden, name)
    for parameter_name, parameter in model.named_parameters():
        reference = golden[name]["grad_norm"][parameter_name]
        assert reference is not None
        assert float(parameter.grad.norm()) == pytest.approx(reference, rel=1e-4, abs=1e-4 * golden[name]["total_grad_norm"])


@pytest.mark.parametrize("key, name", [("hidden", None), ("hidden_odd", "odd"), ("hidden_padded", "padded")])
def test_hidden_states(golden, model, key, name):
    source, _, padding_mask = case_inputs(golden, name)
    padding_mask = padding_mask if name == "padded" else None
    with torch.no_grad():
        for field, options in [
            ("layer_1", {"output_layer": 1}),
            ("layer_2", {"output_layer": 2}),
            ("final", {}),
            ("ret_conv", {"ret_conv": True}),
        ]:
            ours, _ = model.extract_features(source, padding_mask=padding_mask, **options)
            torch.testing.assert_close(ours, golden[key][field], rtol=0, atol=1e-5)


def test_cqt_targets(golden, model):
    ours = model.encoder_cqt_model.magnitudes(golden["source"], None)[:, :113]
    assert (ours - golden["cqt_target"]).norm() / golden["cqt_target"].norm() < 1e-4
