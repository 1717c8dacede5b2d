"""Masks at their edge, and the whole model in bfloat16: losses and gradients against the same in float64."""

import pytest
import torch
from test_golden import TaskSettings, tiny_config

from mert_fairseq.models.mert import MERTModel

SOURCE = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(1))
TARGETS = [torch.randint(4, 12, (2, 24), generator=torch.Generator().manual_seed(2)) for _ in range(2)]
ONE = torch.zeros(2, 24, dtype=torch.bool)
ONE[0, 5] = True
HALF = torch.arange(24).expand(2, -1) % 4 < 2
FIRST_CLIP = HALF & torch.tensor([[True], [False]])


def losses_and_gradients(mask, clips=2, dtype=torch.float64, **changes):
    torch.manual_seed(0)
    model = MERTModel(tiny_config(encoder_layers=2, audio_cqt_loss_m=False, **changes), TaskSettings, [8, 8]).to(dtype).eval()
    targets = [target[:clips] for target in TARGETS]
    losses = model(SOURCE[:clips].to(dtype), targets, mask_indices=mask[:clips])["codes_m"].losses
    losses.sum().backward()
    return losses.detach().double(), {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("mask", [ONE, FIRST_CLIP])
def test_a_clip_without_masked_frames_adds_nothing(mask):
    """Clips know nothing of each other, so that the other one alone is the known answer."""
    (losses, gradients), (alone, of_one) = losses_and_gradients(mask), losses_and_gradients(mask, clips=1)
    torch.testing.assert_close(losses, alone, rtol=1e-10, atol=1e-12)
    assert gradients.keys() == of_one.keys() and losses.min() > 0
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, of_one[name], rtol=1e-8, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("mask", [ONE, FIRST_CLIP, HALF])
def test_float32_equals_float64(mask):
    (losses, gradients), (exact, wanted) = losses_and_gradients(mask, dtype=torch.float32), losses_and_gradients(mask)
    torch.testing.assert_close(losses, exact, rtol=1e-5, atol=0)
    largest = max(gradient.norm() for gradient in wanted.values())
    for name, gradient in wanted.items():
        assert (gradients[name] - gradient).norm() < 1e-4 * gradient.norm() + 1e-6 * largest, name


def test_the_whole_model_in_bfloat16_has_the_loss_of_float32():
    low, full = (losses_and_gradients(HALF, dtype=torch.float32, autocast=autocast)[0] for autocast in ("bf16", "none"))
    assert not low.equal(full)
    torch.testing.assert_close(low, full, rtol=0.01, atol=0)
