"""Multichannel Wiener filtering (Duong et al. 2010, with the update of covariances of Nugraha, Liutkus and Vincent 2016).

The same numbers as `openunmix.filtering.wiener` in about a fifth of its time, which on a CPU is hours for the test songs: the mixture is
whitened once for all stems, so that no matrix is kept per stem and bin.
"""

import torch
from torch import Tensor

EPSILON = 1e-10  # Open-Unmix
LOUDEST = 10.0  # of the mixture's bins, after scaling; Open-Unmix


def wiener_filter(magnitudes: Tensor, mixture: Tensor, iterations: int = 1) -> Tensor:
    """Takes a mixture apart, beginning with the stems' magnitudes and the mixture's phase.

    Args:
        magnitudes: [J, C, T, F] of the stems.
        mixture: complex [C, T, F], of one or two channels.
        iterations: of expectation maximisation; 0 gives what it begins with.

    Returns:
        complex [J + 1, C, T, F]; the last is what the stems leave of the mixture. Their sum is the mixture, to a part in thousands.
    """
    exact = mixture.to(torch.complex128)  # a centred sound's covariance is nearly singular
    scale = max(1.0, float(exact.abs().max()) / LOUDEST)
    exact = exact / scale
    parts = torch.polar(magnitudes.double() / scale, exact.angle().expand(magnitudes.shape))
    parts = torch.cat([parts, (exact - parts.sum(0))[None]])
    for _ in range(iterations):
        parts = _iterate(parts, exact)
    return (parts * scale).to(mixture.dtype)


def _iterate(parts: Tensor, mixture: Tensor) -> Tensor:
    """Covariance of each stem over the frames, and what it expects of the mixture."""
    power = parts.abs().square().mean(1)  # [J, T, F]
    spatial = torch.einsum("jctf,jdtf->jcdf", parts, parts.conj()) / (EPSILON + power.sum(1))[:, None, None]
    covariance = torch.einsum("jtf,jcdf->cdtf", power.to(spatial.dtype), spatial)
    covariance.diagonal().add_(EPSILON**0.5)
    whitened = _solve(covariance, mixture)
    return power[:, None] * torch.einsum("jcdf,dtf->jctf", spatial, whitened)


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """[C, C, T, F], [C, T, F] -> the matrices' inverses times the vectors."""
    if len(vector) == 1:
        return vector / matrix[0]
    ((a, b), (c, d)), (x, y) = matrix, vector
    return torch.stack([d * x - b * y, a * y - c * x]) / (a * d - b * c)
