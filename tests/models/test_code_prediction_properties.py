"""Code prediction equals its definition for any shapes, scales and temperature: every frame beside every class, in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mert_fairseq.models.mert.code_prediction import CHUNK, predict_codes


@st.composite
def problems(draw):
    """(projected [M, K, D], targets [M, K], label embeddings, classes of each codebook, temperature), in float64."""
    num_classes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=4))
    frames, width = draw(st.integers(1, 25)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scales = 10.0 ** rng.uniform(-3, 3, (frames, len(num_classes), 1))
    projected = torch.from_numpy(rng.normal(size=(frames, len(num_classes), width)) * scales)
    entries = torch.from_numpy(rng.normal(size=(sum(num_classes), width)) * 10.0 ** rng.uniform(-3, 3, (sum(num_classes), 1)))
    targets = torch.from_numpy(np.stack([rng.integers(0, size, frames) for size in num_classes], axis=1))
    return projected, targets, entries, num_classes, draw(st.sampled_from([0.05, 0.1, 0.5, 1.0]))


def defined(projected, targets, entries, num_classes, temperature):
    """Losses [K] and logits of each codebook: cosine similarity of every frame and class, one pair after the other's norm."""
    losses, logits = [], []
    for codebook, table in enumerate(entries.split(num_classes)):
        pairs = projected[:, codebook, None].expand(-1, len(table), -1)
        similarity = (pairs * table).sum(-1) / (pairs.norm(dim=-1) * table.norm(dim=-1))
        logits.append(similarity / temperature)
        losses.append(-logits[-1].log_softmax(-1).gather(1, targets[:, codebook, None]).sum())
    return torch.stack(losses), logits


@settings(max_examples=100)
@given(problems(), st.sampled_from([1, 7, 100, 1 << 20]))
def test_losses_and_gradients_in_float64(problem, chunk):
    projected, targets, entries, num_classes, temperature = problem
    ours, theirs = ([tensor.clone().requires_grad_() for tensor in (projected, entries)] for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CHUNK, "cpu", chunk)
        found = predict_codes(ours[0], targets, ours[1], num_classes, temperature)
    losses, _ = defined(theirs[0], targets, theirs[1], num_classes, temperature)
    found.losses.sum().backward()
    losses.sum().backward()
    torch.testing.assert_close(found.losses, losses, rtol=1e-9, atol=1e-9)
    for tensor, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(tensor.grad, other.grad, rtol=1e-7, atol=1e-9 * float(other.grad.abs().max() + 1))


@settings(max_examples=100)
@given(problems())
def test_losses_and_hits_in_float32(problem):
    projected, targets, entries, num_classes, temperature = problem
    found = predict_codes(projected.float(), targets, entries.float(), num_classes, temperature, count=True)
    losses, logits = defined(projected, targets, entries, num_classes, temperature)
    torch.testing.assert_close(found.losses.double(), losses, rtol=1e-4, atol=1e-4 * len(targets))
    for codebook, table in enumerate(logits):
        own = table.gather(1, targets[:, codebook, None])[:, 0]
        rivals = table.scatter(1, targets[:, codebook, None], -torch.inf).amax(-1)
        sure = int((own > rivals + 1e-4).sum())
        assert sure <= int(found.correct[codebook]) <= sure + int(((own - rivals).abs() <= 1e-4).sum())
    assert found.counts.sum(1).tolist() == [targets.numel()] * 2
