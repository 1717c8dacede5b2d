"""The criterion: what each weight does, what is refused, what is logged and averaged, and that the device is never waited for."""

import dataclasses

import pytest
import torch
from fairseq.logging import metrics
from torch.utils._python_dispatch import TorchDispatchMode

from mert_fairseq.criterions import MERTCriterion, MERTCriterionConfig
from mert_fairseq.errors import MertError
from mert_fairseq.models.mert import MERTConfig, MERTModel
from mert_fairseq.models.mert.code_prediction import CodePrediction

SAMPLE = {"id": torch.tensor([3, 8]), "target_list": None, "net_input": {"source": torch.zeros(2, 6000)}}


def output(**changes):
    """A model's output with round numbers: 8 masked frames of 20, two codebooks."""
    values = {
        "codes_m": CodePrediction(torch.tensor([16.0, 40.0]), torch.tensor([2, 6]), 8),
        "codes_u": CodePrediction(torch.tensor([24.0, 60.0]), torch.tensor([3, 9]), 12),
        "cqt_mse_m": torch.tensor(0.5),
        "features_pen": torch.tensor(0.25),
        "num_masked": 8,
        "num_frames": 20,
        "flops": 7,
    }
    return {**values, **changes}


def criterion(masked=1.0, nomask=0.0, **weights):
    return MERTCriterion(None, masked, nomask, **weights)


def run(net_output, *args, **weights):
    return criterion(*args, **weights)(lambda **inputs: net_output, SAMPLE)


@pytest.mark.parametrize(
    "weights, wanted",
    [
        ({}, 56 + 10 * 0.25 * 8 + 1 * 0.5 * 8),  # the published weights: 10 and 1
        ({"features_pen_weight": 0.0}, 56 + 0.5 * 8),
        ({"cqt_weight": 0.0}, 56 + 10 * 0.25 * 8),
        ({"features_pen_weight": 0.0, "cqt_weight": 60.0}, 56 + 60 * 0.5 * 8),
        ({"features_pen_weight": 2.0, "cqt_weight": 3.0}, 56 + 2 * 0.25 * 8 + 3 * 0.5 * 8),
    ],
)
def test_weights_by_name(weights, wanted):
    loss, sample_size, log = run(output(codes_u=None), **weights)
    assert float(loss) == wanted and sample_size == 8 and log["sample_size"] == 8


def test_weight_of_masked_frames():
    loss, sample_size, _ = run(output(codes_u=None), 0.5)
    assert float(loss) == 0.5 * 56 + 10 * 0.25 * 8 + 0.5 * 8 and sample_size == 8


def test_unmasked_frames_count_if_they_have_a_weight():
    loss, sample_size, _ = run(output(), 1.0, 0.5)
    assert float(loss) == 56 + 0.5 * 84 + (10 * 0.25 + 0.5) * 20 and sample_size == 20
    loss, sample_size, log = run(output(), 1.0, 0.0)
    assert float(loss) == 56 + (10 * 0.25 + 0.5) * 8 and sample_size == 8
    assert log["loss_u_1"] == 60  # logged, though it has no weight


def test_unmasked_frames_only():
    loss, sample_size, log = run(output(codes_m=None), 0.0, 1.0)
    assert float(loss) == 84 + (10 * 0.25 + 0.5) * 12 and sample_size == 12
    assert not any(key.startswith("loss_m") for key in log)


def test_terms_by_name():
    terms = criterion(1.0, 2.0, cqt_weight=4.0).weighted_terms(output())
    assert {name: float(term) for name, term in terms.items()} == {
        "features_pen": 10 * 0.25 * 20,
        "codes_m": 56,
        "codes_u": 2 * 84,
        "cqt_m": 4 * 0.5 * 20,
    }


def test_no_cqt_head():
    loss, _, log = run(output(cqt_mse_m=None))
    assert float(loss) == 56 + 10 * 0.25 * 8 and "loss_cqt_m" not in log


@pytest.mark.parametrize(
    "weights, missing, wanted",
    [
        ((1.0, 0.5), "codes_u", "criterion.pred_nomask_weight=0.5 needs model.skip_nomask=false"),
        ((1.0, 0.5), "codes_m", "criterion.pred_masked_weight=1.0 needs model.skip_masked=false"),
        ((0.0, 0.0), None, "no frame's codes are predicted"),
    ],
)
def test_a_weight_without_its_prediction_is_refused(weights, missing, wanted):
    with pytest.raises(MertError, match=wanted):
        run(output(**({missing: None} if missing else {})), *weights)


@pytest.mark.parametrize("loss_weights", [[10, 1], [10.0], []])
def test_positional_weights_are_refused(loss_weights):
    with pytest.raises(MertError, match="criterion.features_pen_weight and criterion.cqt_weight") as refusal:
        criterion(loss_weights=loss_weights)
    assert f"criterion.loss_weights={loss_weights}" in str(refusal.value)


def test_every_setting_reaches_the_criterion():
    values = {"pred_masked_weight": 0.5, "pred_nomask_weight": 0.25, "features_pen_weight": 3.0, "cqt_weight": 60.0, "nan_patience": 3}
    built = MERTCriterion.build_criterion(MERTCriterionConfig(**values), None)
    assert {name: getattr(built, name) for name in values} == values
    defaults = MERTCriterion.build_criterion(MERTCriterionConfig(), None)
    assert [getattr(defaults, name) for name in values] == [1.0, 0.0, 10.0, 1.0, 10]
    assert {field.name for field in dataclasses.fields(MERTCriterionConfig)} == {*values, "loss_weights", "log_keys", "_name"}


def test_the_log_is_unweighted():
    _, _, log = run(output(), 0.5, 0.25, features_pen_weight=3.0, cqt_weight=60.0)
    assert {key: float(value) for key, value in log.items() if key != "loss"} == {
        "ntokens": 20,
        "num_samples": 12_000,
        "flops": 7,
        "nsentences": 2,
        "sample_size": 20,
        "num_masked": 8,
        "num_frames": 20,
        "loss_features_pen": 0.25 * 20,
        "loss_cqt_m": 0.5 * 20,
        **{"loss_m_0": 16, "loss_m_1": 40, "correct_m_0": 2, "correct_m_1": 6, "count_m_0": 8, "count_m_1": 8},
        **{"loss_u_0": 24, "loss_u_1": 60, "correct_u_0": 3, "correct_u_1": 9, "count_u_0": 12, "count_u_1": 12},
    }


def test_the_log_holds_no_graph():
    net_output = output(features_pen=torch.tensor(0.25, requires_grad=True), cqt_mse_m=torch.tensor(0.5, requires_grad=True))
    net_output["codes_m"].losses.requires_grad_()
    loss, _, log = run(net_output)
    assert loss.requires_grad
    assert not any(value.requires_grad for value in log.values() if torch.is_tensor(value))


# reduce_metrics


def logged(*steps):
    """Averages over the given steps, each a list of the workers' logs."""
    with metrics.aggregate(new_root=True) as meters:
        for logs in steps:
            MERTCriterion.reduce_metrics(logs)
    return {name: float(meters[name].avg) for name in meters}


def worker(num_masked, scale, num_frames=100, **changes):
    """A worker's log whose mean per frame is `scale` times 1, 2, ...; the sums carry `num_masked`."""
    losses, correct = num_masked * scale * torch.tensor([1.0, 2.0]), torch.tensor([num_masked // 2, num_masked // 4])
    codes = CodePrediction(losses, correct, num_masked)
    values = output(codes_m=codes, codes_u=None, cqt_mse_m=torch.tensor(3.0 * scale), features_pen=torch.tensor(4.0 * scale))
    return run({**values, "num_masked": num_masked, "num_frames": num_frames, **changes})[2]


def test_averages_are_weighted_by_frames():
    """1,000 and 200 frames on two workers, 400 in the next step: each figure is a sum over frames divided by their number."""
    found = logged([worker(1000, 1.0, 2000), worker(200, 4.0, 400)], [worker(400, 2.0, 600)])
    mean = (1000 * 1.0 + 200 * 4.0 + 400 * 2.0) / 1600
    assert found == pytest.approx(
        {
            "loss": mean * (1 + 2 + 10 * 4 + 3),
            "loss_features_pen": mean * 4,
            "loss_cqt_m": mean * 3,
            "loss_m_0": mean * 1,
            "loss_m_1": mean * 2,
            "loss_codes_m": mean * 3,
            "correct_m_0": 0.5,
            "correct_m_1": 0.25,
            "masked_share": 1600 / 3000,
        },
        rel=1e-6,
    )


def test_codebooks_are_weighted_by_their_own_count():
    logs = [{**worker(100, 1.0), "count_m_1": 100}, {**worker(100, 1.0), "count_m_1": 300, "loss_m_1": torch.tensor(900.0)}]
    assert logged(logs)["loss_m_1"] == pytest.approx((200 + 900) / 400)


def test_sums_over_workers_are_enough():
    """What fairseq does when logging_outputs_can_be_summed: one log with every number summed."""
    logs = [worker(1000, 1.0, 2000), worker(200, 4.0, 400)]
    summed = {key: sum(log[key] for log in logs) for key in logs[0]}
    assert MERTCriterion.logging_outputs_can_be_summed()
    assert logged(logs) == pytest.approx(logged([summed]), rel=1e-6)


def test_unmasked_frames_are_logged_apart():
    codes_u = CodePrediction(torch.tensor([24.0, 60.0]), torch.tensor([3, 9]), 12)
    found = logged([worker(8, 2.0, codes_u=codes_u)])
    assert (found["loss_u_0"], found["loss_u_1"], found["correct_u_1"]) == (2.0, 5.0, 0.75)
    assert found["loss_codes_m"] == 6.0


def test_nothing_masked_logs_nothing():
    assert logged([worker(0, 1.0)]) == {}


def test_no_masked_but_unmasked_frames():
    empty = CodePrediction(torch.zeros(2), torch.zeros(2, dtype=torch.long), 0)
    _, _, log = run(output(codes_m=empty, num_masked=0, cqt_mse_m=torch.tensor(0.0)), 1.0, 1.0)
    found = logged([log])
    assert found["loss_u_0"] == 2.0 and found["masked_share"] == 0
    assert not {"loss_m_0", "loss_codes_m", "correct_m_0"} & set(found)


def test_a_log_does_not_share_the_meters_of_another():
    assert logged([worker(10, 1.0)])["loss_m_0"] == 1.0
    assert logged([worker(10, 3.0)])["loss_m_0"] == 3.0


# With a model.


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    layers = [[16, 10, 5]] + [[16, 3, 2]] * 4 + [[16, 2, 2]] * 2
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}
    cfg = MERTConfig(label_rate=75.0, seed=1, final_dim=8, conv_feature_layers=layers, **sizes)
    task = type("TaskSettings", (), {"sample_rate": 24000})
    return MERTModel(cfg, task, [8, 16])


def batch(masked_frames=30):
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 74, dtype=torch.bool)
    mask[:, 10 : 10 + masked_frames] = True
    net_input = {
        "source": torch.randn(2, 24000, generator=generator),
        "cqt_targets": torch.rand(2, 74, 336, generator=generator),
        "mask_indices": mask,
        "ids": torch.tensor([3, 8]),
    }
    targets = [torch.randint(4, 12, (2, 75), generator=generator), torch.randint(4, 20, (2, 75), generator=generator)]
    return {"id": net_input["ids"], "target_list": targets, "net_input": net_input}


class DeviceIsWaitedFor(AssertionError):
    pass


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for the device: reading a number, and results whose size depends on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        masks = args[1] if function.overloadpacket is torch.ops.aten.index else ()
        if any(index is not None and index.dtype == torch.bool for index in masks) or function.overloadpacket in (
            torch.ops.aten._local_scalar_dense,
            torch.ops.aten.nonzero,
            torch.ops.aten.masked_select,
        ):
            raise DeviceIsWaitedFor(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("training", [False, True])
def test_a_step_never_waits_for_the_device(model, training):
    """The mask is given here: one that is drawn is drawn on the host, from numbers that are there."""
    sample = batch()
    with NoWaiting():
        loss, _, _ = criterion()(model.train(training), sample)
        loss.backward()
    assert loss > 0


@pytest.mark.parametrize(
    "wait", [lambda x: x.sum().item(), lambda x: float(x[0]), lambda x: bool(x.any()), lambda x: x[x > 0], lambda x: x.nonzero()]
)
def test_waiting_would_be_seen(wait):
    with pytest.raises(DeviceIsWaitedFor), NoWaiting():
        wait(torch.ones(3))


def test_codes_are_counted_in_validation_alone(model):
    """As one array for all codebooks, so that sums over workers are enough; and without waiting for the device."""
    sample = batch()
    assert "code_counts" not in criterion()(model.train(), sample)[2]
    with NoWaiting():
        _, _, log = criterion().eval()(model.eval(), sample)
    counts = log["code_counts"]
    assert counts.shape == (2, 12 + 20) and counts.sum(1).tolist() == [120, 120]  # 60 masked frames, two codebooks
    masked = sample["net_input"]["mask_indices"]
    assert counts[1, :12].tolist() == torch.bincount(sample["target_list"][0][:, :74][masked], minlength=12).tolist()
    summed = {key: value + value for key, value in log.items()}
    assert logged([log, log]) == pytest.approx(logged([summed])) and "code_counts" not in logged([summed])


def test_sum_of_the_parts(model):
    """The loss is what the log says of each term, weighted."""
    loss, sample_size, log = criterion()(model.eval(), batch())
    parts = log["loss_m_0"] + log["loss_m_1"] + 10 * log["loss_features_pen"] + log["loss_cqt_m"]
    torch.testing.assert_close(loss.detach(), parts, rtol=1e-5, atol=0)
    assert sample_size == 60 and log["num_masked"] == 60 and log["num_frames"] == 148


def test_no_masked_frame_gives_no_loss_and_finite_gradients(model):
    model.zero_grad()
    loss, sample_size, _ = criterion()(model.eval(), batch(masked_frames=0))
    loss.backward()
    assert float(loss) == 0 and sample_size == 0
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_autocast_losses_are_float32(model):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _, log = criterion()(model.eval(), batch())
    exact = criterion()(model, batch())[0]
    assert loss.dtype == torch.float32 and log["loss_m_0"].dtype == torch.float32 and log["loss_cqt_m"].dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0)
