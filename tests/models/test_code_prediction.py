"""Code prediction as one matrix product against the published expansion in float64."""

import math

import pytest
import torch
from reference_mert import expanded_cross_entropy

from mert_fairseq.models.mert.code_prediction import CHUNK, predict_codes

UNEQUAL = (9, 304, 24)  # classes of each codebook


def problem(num_masked, num_classes=UNEQUAL, dim=16, seed=0, dtype=torch.float32):
    """Random projections [M, K, dim], targets [M, K] and label embeddings; a third of the projections lie near their target."""
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.rand(size, dim, generator=generator) for size in num_classes]  # uniform, as initialised
    targets = torch.stack([torch.randint(4, size, (num_masked,), generator=generator) for size in num_classes], dim=-1)
    projected = torch.randn(num_masked, len(num_classes), dim, generator=generator)
    for codebook, table in enumerate(tables):
        projected[::3, codebook] = 3 * table[targets[::3, codebook]] + 0.1 * projected[::3, codebook]
    return projected.to(dtype).requires_grad_(), targets, torch.cat(tables).to(dtype).requires_grad_()


def expanded(projected, targets, label_embs, num_classes, temperature):
    """Losses and hits of all codebooks by the published expansion, in float64; and the gradients of the sum of losses."""
    projected, label_embs = projected.detach().double().requires_grad_(), label_embs.detach().double().requires_grad_()
    parts = [
        expanded_cross_entropy(projected[:, codebook], targets[:, codebook], table, temperature)
        for codebook, table in enumerate(label_embs.split(num_classes))
    ]
    losses = torch.stack([loss for loss, _ in parts])
    losses.sum().backward()
    return losses.detach(), [hits for _, hits in parts], projected.grad, label_embs.grad


def assert_near(ours, theirs, bound=1e-5):
    """`bound` relative to the norm of the whole."""
    assert (ours.double() - theirs).norm() <= bound * theirs.norm()


@pytest.mark.parametrize("num_classes", [UNEQUAL, (1028,) * 8, (5,)])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_the_published_expansion(num_classes, temperature):
    projected, targets, label_embs = problem(40, num_classes)
    found = predict_codes(projected, targets, label_embs, num_classes, temperature)
    found.losses.sum().backward()
    losses, hits, of_projected, of_label_embs = expanded(projected, targets, label_embs, num_classes, temperature)
    torch.testing.assert_close(found.losses.detach().double(), losses, rtol=1e-5, atol=0)
    assert_near(projected.grad, of_projected)
    assert_near(label_embs.grad, of_label_embs)
    assert found.correct.tolist() == hits and 40 / 4 < min(hits) and (max(hits) < 40 or num_classes == (5,))
    assert found.num_frames == 40


def test_one_masked_frame():
    projected, targets, label_embs = problem(1)
    found = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    found.losses.sum().backward()
    losses, hits, of_projected, of_label_embs = expanded(projected, targets, label_embs, UNEQUAL, 0.1)
    torch.testing.assert_close(found.losses.detach().double(), losses, rtol=1e-5, atol=1e-6)
    assert_near(projected.grad, of_projected, 1e-4)
    assert_near(label_embs.grad, of_label_embs, 1e-4)
    assert found.correct.tolist() == hits and found.num_frames == 1


def test_no_masked_frame_costs_nothing():
    projected, targets, label_embs = problem(0)
    found = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    found.losses.sum().backward()
    assert found.losses.tolist() == [0.0, 0.0, 0.0] and found.correct.tolist() == [0, 0, 0] and found.num_frames == 0
    assert label_embs.grad.equal(torch.zeros_like(label_embs))


def test_known_answer():
    """Two classes at right angles, temperature 1/2: the target's probability is e^2 / (e^2 + 1), or 1 / (e^2 + 1) if missed."""
    table = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    projected = torch.tensor([[[2.0, 0.0]], [[0.0, 7.0]], [[0.0, 1.0]]])
    found = predict_codes(projected, torch.tensor([[0], [1], [0]]), table, [2], 0.5)
    assert float(found.losses[0]) == pytest.approx(3 * math.log(math.exp(2) + 1) - 4)
    assert found.correct.tolist() == [2]


def test_each_codebook_sees_its_own_rows_only():
    projected, targets, label_embs = problem(20)
    whole = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    with torch.no_grad():
        label_embs[9 : 9 + 304] = torch.randn(304, 16, generator=torch.Generator().manual_seed(2))
    changed = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    assert [bool(before == after) for before, after in zip(whole.losses, changed.losses)] == [True, False, True]


def test_losses_and_hits_are_sums_over_frames():
    projected, targets, label_embs = problem(30)
    whole = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    parts = [predict_codes(projected[part], targets[part], label_embs, UNEQUAL, 0.1) for part in (slice(0, 11), slice(11, 30))]
    torch.testing.assert_close(whole.losses, parts[0].losses + parts[1].losses, rtol=1e-5, atol=0)
    assert whole.correct.equal(parts[0].correct + parts[1].correct)


def test_a_projection_of_zeros_is_undecided_and_has_a_finite_gradient():
    projected, targets, label_embs = problem(4)
    with torch.no_grad():
        projected.zero_()
    found = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    found.losses.sum().backward()
    assert found.losses.tolist() == pytest.approx([4 * math.log(size) for size in UNEQUAL])
    assert projected.grad.isfinite().all() and label_embs.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_compared_in_float32(dtype):
    projected, targets, label_embs = problem(10, dtype=dtype)
    found = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    assert found.losses.dtype == torch.float32
    exact = predict_codes(projected.double(), targets, label_embs.double(), UNEQUAL, 0.1)
    torch.testing.assert_close(found.losses.double(), exact.losses, rtol=1e-5, atol=0)


def test_autocast_leaves_the_losses_in_float32():
    """fairseq's own amp wraps the whole step; bfloat16 logits of 10 would be off by 0.03."""
    projected, targets, label_embs = problem(20)
    plain = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1).losses
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (projected[:, 0] @ label_embs[:9].t()).dtype == torch.bfloat16
        losses = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1).losses
    assert losses.dtype == torch.float32 and losses.equal(plain)


@pytest.mark.parametrize("chunk", [1, 30, 100, 10_000])
def test_chunks_do_not_matter(monkeypatch, chunk):
    monkeypatch.setitem(CHUNK, "cpu", chunk)
    projected, targets, label_embs = problem(23, dtype=torch.float64)
    found = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    losses, hits, grad_projected, grad_label_embs = expanded(projected, targets, label_embs, UNEQUAL, 0.1)
    torch.testing.assert_close(found.losses, losses, rtol=1e-10, atol=0)
    assert found.correct.tolist() == hits
    found.losses.sum().backward()
    torch.testing.assert_close(projected.grad, grad_projected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(label_embs.grad, grad_label_embs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 1000, 100_000])
def test_counts_of_what_was_predicted_and_met(monkeypatch, chunk):
    monkeypatch.setitem(CHUNK, "cpu", chunk)
    projected, targets, label_embs = problem(50)
    found = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1, count=True)
    plain = predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    assert plain.counts is None and torch.equal(found.losses, plain.losses)
    tables, counts = label_embs.detach().double().split(UNEQUAL), found.counts.split(UNEQUAL, 1)
    for codebook, (table, (predicted, met)) in enumerate(zip(tables, counts, strict=True)):
        likest = torch.cosine_similarity(projected.detach().double()[:, codebook, None], table, dim=-1).argmax(-1)
        assert predicted.tolist() == torch.bincount(likest, minlength=len(table)).tolist()
        assert met.tolist() == torch.bincount(targets[:, codebook], minlength=len(table)).tolist()


def test_each_codebooks_loss_scales_its_own_gradient():
    projected, targets, label_embs = problem(6, dtype=torch.float64)
    weights = torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64)

    def weighted(x, y):
        return (predict_codes(x, targets, y, UNEQUAL, 0.1).losses * weights).sum()

    assert torch.autograd.gradcheck(weighted, (projected.detach().requires_grad_(), label_embs.detach().requires_grad_()))


def test_logits_are_not_kept_for_the_backward_pass():
    projected, targets, label_embs = problem(50)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor):
        predict_codes(projected, targets, label_embs, UNEQUAL, 0.1)
    assert max(kept) <= max(projected.numel(), label_embs.numel())
