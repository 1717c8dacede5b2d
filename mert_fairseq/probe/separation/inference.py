"""Songs taken apart: the encoder hears them in pieces, networks go over the whole song, a Wiener filter splits the mixture."""

from typing import Dict, List

import torch
from torch import Tensor

from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.network import SeparationNetwork
from mert_fairseq.probe.separation.spectrogram import inverse_stft, stft
from mert_fairseq.probe.separation.wiener import wiener_filter

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
        found = dict(zip(masks, _filtered([mask * spectrum.abs() for mask in masks.values()], spectrum)))
    else:
        found = {stem: _filtered([mask * spectrum.abs()], spectrum)[0] for stem, mask in masks.items()}
    return {stem: inverse_stft(part, mixture.size(1)).cpu() for stem, part in found.items()}


def _filtered(magnitudes: List[Tensor], spectrum: Tensor) -> Tensor:
    """[J, C, T, 1025] of the stems, window after window."""
    parts = []
    for first in range(0, spectrum.size(1), WINDOW):
        part = slice(first, first + WINDOW)
        parts.append(wiener_filter(torch.stack([stem[:, part] for stem in magnitudes]), spectrum[:, part], ITERATIONS)[:-1])
    return torch.cat(parts, dim=2)
