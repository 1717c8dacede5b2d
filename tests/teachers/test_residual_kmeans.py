"""Residual k-means: it finds clusters and their parts, and leaves no centre unused."""

import torch

from mert_fairseq.teachers.residual_kmeans import first_centres, fit_codebooks, kmeans, nearest, principal_part


def test_residual_kmeans_finds_clusters_and_then_their_parts():
    """8 far clusters, each of the same 4 parts: the first codebook has an entry for each cluster, the second for each part."""
    generator = torch.Generator().manual_seed(0)
    coarse, fine = torch.randn(8, 6, generator=generator) * 1e4, torch.randn(4, 6, generator=generator) * 10
    points = (coarse[:, None] + fine - fine.mean(0)).repeat_interleave(50, 1).flatten(0, 1).double()
    one_each, _ = kmeans(points, points[::200].clone(), 5)
    assert torch.allclose(one_each, coarse.double(), atol=1e-6)
    codebooks = fit_codebooks(points, 2, 64, 5, generator)  # 64 even draws miss none of 8 clusters
    first = torch.cdist(points, codebooks[0])
    assert first.min(1).values.max() < 60  # clusters are 1e4 apart
    residual = points - codebooks[0][first.argmin(1)]
    assert torch.cdist(residual, codebooks[1]).min(1).values.max() < 1e-3 * 60


def test_kmeans_leaves_no_centre_unused():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3000, 4, generator=generator) * torch.tensor([1.0, 1, 1, 5])
    points[:1500] *= 1e-3  # half of the points in one spot
    _, assigned = kmeans(points, first_centres(points, 256, generator), 8)
    assert torch.bincount(assigned, minlength=256).min() > 0
    far = torch.cat([points[:1], torch.full((255, 4), 1e3)])  # 255 centres that no point is near to
    _, assigned = kmeans(points, far, 12)
    assert torch.bincount(assigned, minlength=256).min() > 0


def test_kmeans_takes_fewer_distinct_points_than_centres():
    points = torch.eye(4).repeat(3, 1)
    centres, assigned = kmeans(points, first_centres(points, 16, torch.Generator().manual_seed(0)), 3)
    assert torch.isfinite(centres).all() and torch.allclose(centres[assigned], points)


def test_codebooks_of_the_principal_part_do_not_see_the_rest():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(400, 6, generator=generator) * torch.tensor([9.0, 8, 7, 0.1, 0.1, 0.1]) + 3
    part = principal_part(latents, 3)
    assert part.shape == latents.shape and torch.linalg.matrix_rank(part - part.mean(0), rtol=1e-4) == 3
    assert torch.allclose(principal_part(latents, 6), latents, atol=1e-4)
    codebook = fit_codebooks(part, 1, 16, 5, generator)[0]
    assert torch.equal(nearest(latents, codebook), nearest(part, codebook))
