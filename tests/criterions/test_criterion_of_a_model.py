"""The criterion over a model: the device is never waited for, and the loss is the sum of its parts."""

import pytest
import torch
from criterion_outputs import criterion, logged
from torch.utils._python_dispatch import TorchDispatchMode

from mert_fairseq.models.mert import MERTConfig, MERTModel


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
