"""Residual k-means: a residual vector quantiser, and how its codebooks are fitted to a sample in bounded memory."""

from typing import Any, Callable, List, Tuple

import torch
from torch import Tensor


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Index [N] of the centre [V, D] nearest to each point [N, D]; |p|^2 is the same for all centres and left out."""
    distances = torch.addmm(centres.pow(2).sum(1), points, centres.T, alpha=-2)
    if distances.device.type != "cpu":
        return distances.argmin(dim=1)
    return torch.from_numpy(distances.numpy().argmin(axis=1))  # ten times torch's speed


def residual_codes(points: Tensor, codebooks: Tensor) -> Tensor:
    """Points [N, D], codebooks [K, V, D] -> codes [N, K]: each takes the entry nearest to what the ones before it left."""
    residual, codes = points, []
    for codebook in codebooks:
        codes.append(nearest(residual, codebook))
        residual = residual - codebook[codes[-1]]
    return torch.stack(codes, dim=1)


def silent(*_: Any) -> None:
    """The progress of a caller who wants none."""


def kmeans(points: Tensor, centres: Tensor, iterations: int) -> Tuple[Tensor, Tensor]:
    """Lloyd's iterations on points [N, D] from first centres [V, D] -> centres [V, D] and each point's centre [N].

    A centre that lost all its points moves to one of the points farthest from theirs.
    """
    for _ in range(iterations):
        assigned, distance = _assign(points, centres)
        counts = torch.bincount(assigned, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, assigned, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
        dead = (counts == 0).nonzero().flatten()[: len(points)]
        centres[dead] = points[distance.topk(len(dead)).indices]
    return centres, _assign(points, centres)[0]


def first_centres(points: Tensor, num_centres: int, generator: torch.Generator) -> Tensor:
    """Points [V, D] drawn evenly; with fewer points than V some come twice.

    k-means++ (Arthur and Vassilvitskii 2007) spends so many centres on loud outliers that the held-out perplexity of the residual
    codebooks is half of what an even draw gives.
    """
    order = torch.randperm(len(points), generator=generator)
    return points[order[torch.arange(num_centres) % len(points)]]


def _assign(points: Tensor, centres: Tensor, chunk: int = 4096) -> Tuple[Tensor, Tensor]:
    """Nearest centre [N] and squared distance [N]; in chunks, so that the [N, V] distances are never all in memory."""
    index = torch.cat([nearest(part, centres) for part in points.split(chunk)])
    return index, (points - centres[index]).pow(2).sum(1)


def fit_codebooks(
    latents: Tensor, num_codebooks: int, size: int, iterations: int, generator: torch.Generator,
    progress: Callable[[int, int], None] = silent,
) -> Tensor:
    """Residual k-means on latents [N, D] -> codebooks [K, V, D]: each is fitted to what the ones before it left."""
    residual = latents.clone()
    codebooks: List[Tensor] = []
    for k in range(num_codebooks):
        centres, assigned = kmeans(residual, first_centres(residual, size, generator), iterations)
        residual -= centres[assigned]
        codebooks.append(centres)
        progress(k + 1, num_codebooks)
    return torch.stack(codebooks)


def principal_part(latents: Tensor, num_components: int) -> Tensor:
    """Latents [N, D] -> their projection on the first principal components and their mean, still [N, D].

    Codebooks fitted to it lie in that subspace, so the nearest entry of a raw latent does not depend on the rest of it: many small
    directions that hold little but phase.
    """
    mean = latents.mean(0)
    centred = latents - mean
    components = torch.linalg.eigh(centred.T @ centred)[1][:, -num_components:]  # [D, n]; eigenvalues ascend
    return centred @ components @ components.T + mean
