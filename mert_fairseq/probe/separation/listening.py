"""What the frozen encoder hears, laid on the frames of the spectrogram.

Frame t of the encoder goes with frame t of the spectrogram, as published; the one or two frames that an unpadded encoder lacks at the end
repeat its last. Another frame rate than 75 Hz is brought to it by repeating or leaving out frames.
"""

from typing import Iterator, List, Sequence

import torch
from torch import Tensor

from mert_fairseq.export.windows import plan_windows, window_frames
from mert_fairseq.frames import FRAME_RATE
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.spectrogram import num_frames


class Listener:
    """An encoder's layers that are asked for.

    Attributes:
        num_layers: N: 1 for a single layer; for all of them L, without the transformer's input (MARBLE), which is all a log-mel has.
    """

    def __init__(self, encoder: ProbedEncoder, settings: SeparationSettings):
        self.encoder, self._settings = encoder, settings
        every = list(range(1, encoder.num_layers + 1)) or [0]
        self._layers: List[int] = every if settings.layer is None else [settings.layer]
        self.num_layers = len(self._layers)

    @torch.no_grad()
    def chunks(self, wave: Tensor, numbers: Sequence[int]) -> Tensor:
        """Mono mixes [B, S] -> [N, B, T, D] on the encoder's device, T of the spectrogram.

        Args:
            numbers: of the mixes within their epoch, for a listener that keeps what it heard.
        """
        found = None
        for first in range(0, len(wave), self._settings.encoder_batch):
            heard = self._hear(wave[first : first + self._settings.encoder_batch], num_frames(wave.size(1)))
            if found is None:
                found = heard.new_empty(self.num_layers, len(wave), *heard.shape[2:])
            found[:, first : first + heard.size(1)] = heard
        return found

    @torch.no_grad()
    def song(self, wave: Tensor, name: str) -> Iterator[Tensor]:
        """A mono song [S] -> [N, 1, T, D] of each piece; their frames add up to the spectrogram's."""
        plan = plan_windows(len(wave), window_frames(self._settings.piece_s), self.encoder.shortest)
        left = num_frames(len(wave))
        for window in plan:
            piece = self._hear(wave[None, window.start : window.start + window.num_samples], window.skip + window.num_frames)
            piece = piece[:, :, window.skip :]
            left -= piece.size(2)
            yield piece if window is not plan[-1] else torch.cat([piece, piece[:, :, -1:].expand(-1, -1, left, -1)], 2)

    def _hear(self, wave: Tensor, frames: int) -> Tensor:
        """[N, B, frames, D]."""
        states = self.encoder.hidden_states(wave)
        place = torch.arange(frames, device=states[0].device) * self.encoder.frame_rate / FRAME_RATE
        place = place.long().clamp(max=states[0].size(1) - 1)
        return torch.stack([states[layer][:, place] for layer in self._layers])
