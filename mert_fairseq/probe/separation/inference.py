"""Songs taken apart: the encoder hears them in pieces, networks go over the whole song, a Wiener filter splits the mixture."""

from typing import Dict, List

import torch
from torch import Tensor

from mert_fairseq.errors import MertError
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.network import SeparationNetwork
from mert_fairseq.probe.separation.spectrogram import inverse_stft, stft

WINDOW = 600  # frames that the filter looks at together, 8 s; MARBLE's code
ITERATIONS = 1  # MARBLE's code


@torch.no_grad()
def song_masks(networks: Dict[str, SeparationNetwork], listener: Listener, mixture: Tensor, name: str) -> Dict[str, Tensor]:
    """[T, 1025] of each stem; the song is heard once for all of them.

    Args:
        mixture: [channels, S] at 24 kHz.
    """
    mixed: Dict[str, List[Tensor]] = {stem: [] for stem in networks}
    for piece in listener.song(mixture.mean(0), name):
        for stem, network in networks.items():
            mixed[stem].append(network.mix_layers(piece))
    return {stem: network.eval().mask(torch.cat(mixed[stem], 1))[0] for stem, network in networks.items()}


@torch.no_grad()
def split(masks: Dict[str, Tensor], mixture: Tensor, wiener: str) -> Dict[str, Tensor]:
    """The stems' waves, [channels, S] each.

    A mask is of the mono spectrogram and taken for each channel, which keeps where a sound stands in the mixture.

    Args:
        masks: [T, 1025] each.
        mixture: [channels, S] at 24 kHz.
        wiener: "alone", "together" or "none", see `SeparationSettings`.
    """
    device = next(iter(masks.values())).device
    spectrum = stft(mixture.to(device))
    if wiener == "none":
        found = {stem: mask * spectrum for stem, mask in masks.items()}
    elif wiener == "together":
        found = dict(zip(masks, wiener_filter(torch.stack([mask * spectrum.abs() for mask in masks.values()]), spectrum)))
    else:
        found = {stem: wiener_filter((mask * spectrum.abs())[None], spectrum)[0] for stem, mask in masks.items()}
    return {stem: inverse_stft(part, mixture.size(1)).cpu() for stem, part in found.items()}


def wiener_filter(magnitudes: Tensor, spectrum: Tensor) -> Tensor:
    """Expectation maximisation over spatial covariances (Nugraha et al. 2016), by Open-Unmix.

    Args:
        magnitudes: [J, channels, T, 1025] of the stems.
        spectrum: complex [channels, T, 1025] of the mixture.

    Returns:
        complex [J + 1, channels, T, 1025]; the last is what is left of the mixture.
    """
    try:
        from openunmix.filtering import wiener
    except ImportError as error:
        raise MertError(f"Wiener filtering: openunmix cannot be imported ({error}); pip install 'mert-fairseq[probing]'") from None
    targets, mixture = magnitudes.permute(2, 3, 1, 0), torch.view_as_real(spectrum.permute(1, 2, 0)).double()
    parts = []
    for first in range(0, spectrum.size(1), WINDOW):  # in double precision: a centred sound's covariance is nearly singular
        part = slice(first, first + WINDOW)
        found = wiener(targets[part].double(), mixture[part], ITERATIONS, residual=True)
        parts.append(torch.view_as_complex(found.movedim(3, 4).float().contiguous()))
    return torch.cat(parts).permute(3, 2, 0, 1)
