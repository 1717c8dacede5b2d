"""How well a stem was recovered, in dB."""

import numpy as np
from torch import Tensor

FLOOR = 1e-7  # MARBLE's code; keeps silence finite


def global_sdr(reference: Tensor, estimated: Tensor) -> float:
    """Signal to distortion ratio of a song, over all channels and samples: the published score is its mean over songs.

        10 log10((sum s^2 + 1e-7) / (sum (s - s_hat)^2 + 1e-7))

    Args:
        reference, estimated: [channels, S] each.
    """
    signal = reference.double().square().sum()
    distortion = (reference.double() - estimated.double()).square().sum()
    return float(10 * ((signal + FLOOR) / (distortion + FLOOR)).log10())


def median_sdr(references: Tensor, estimated: Tensor, window: int) -> np.ndarray:
    """SDR as museval (BSSEval v4) has it: the median over windows of a second, which are its defaults.

    Of its measures SDR alone needs no projection filters: it is the ratio of energies in each window. Windows in which one of
    the references or estimates is silent are left out; [nan] if there is no other.

    Args:
        references, estimated: [stems, channels, S]; for museval's figures all four stems, as any of them being silent counts.
        window: samples.

    Returns:
        [stems]
    """
    count = references.size(-1) // window
    reference, guess = (_windows(wave, window, count) for wave in (references, estimated))
    silent = (reference.sum(1) == 0).all(-1).any(0) | (guess.sum(1) == 0).all(-1).any(0)
    signal = reference.square().sum((1, 3))[:, ~silent]
    distortion = (reference - guess).square().sum((1, 3))[:, ~silent]
    if signal.size(1) == 0:
        return np.full(len(references), np.nan)
    return np.median((10 * (signal / distortion).log10()).numpy(), axis=1)


def _windows(wave: Tensor, window: int, count: int) -> Tensor:
    """[stems, channels, S] -> [stems, channels, count, window]; a rest at the end is not looked at."""
    return wave[..., : count * window].double().unflatten(-1, (count, window))
