"""Features of mixes and validation songs, kept on disk in half precision for the epochs to come.

    mixes.npy          float16 [mixes, N, T, D]
    mixes_heard.npy    uint8 [mixes], 1 where the row is filled
    songs/{name}.npy   float16 [N, T, D] of a whole song
"""

import functools
import os
from pathlib import Path
from typing import Iterator, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from mert_fairseq.data.array_files import map_array
from mert_fairseq.data.part_files import remove_abandoned, written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.export.windows import window_frames
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.spectrogram import num_frames
from mert_fairseq.probe.separation.tracks import Track, samples_at_24k

BYTES = 2  # of a half


class KeepingListener(Listener):
    """A listener that hears each mix and song once. Values are the kept ones from the first time on, so that a killed run goes on alike.

    Raises:
        MertError: no room on the disk.
    """

    def __init__(self, encoder: ProbedEncoder, settings: SeparationSettings, folder: Path, num_mixes: int):
        super().__init__(encoder, settings)
        self._folder, self._piece = folder, window_frames(settings.piece_s)
        self._shape = (num_mixes, self.num_layers, settings.chunk_frames + 1, encoder.dim)

    @functools.cached_property
    def _mixes(self) -> Tuple[np.ndarray, np.ndarray]:
        """Rows and which of them are filled; their space is taken with the first mix."""
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self._folder, "**/.*.part")
        rows = _open(self._folder / "mixes.npy", self._shape, np.float16)
        return rows, _open(self._folder / "mixes_heard.npy", self._shape[:1], np.uint8)

    def chunks(self, wave: Tensor, numbers: Sequence[int]) -> Tensor:
        """As a listener's; a batch of which all is there is not heard."""
        numbers, (kept, heard) = np.asarray(numbers), self._mixes
        missing = np.flatnonzero(heard[numbers] == 0)
        if len(missing):
            found = super().chunks(wave[missing], numbers[missing])
            kept[numbers[missing]] = _half(found).transpose(1, 0, 2, 3)
            heard[numbers[missing]] = 1
        rows = torch.from_numpy(kept[numbers].astype(np.float32))
        return rows.transpose(0, 1).to(self.encoder.device)

    def song(self, wave: Tensor, name: str) -> Iterator[Tensor]:
        """As a listener's."""
        path = self._folder / "songs" / f"{name}.npy"
        if not path.exists():
            self._keep(wave, name, path)
        try:
            rows = map_array(path)
        except (OSError, ValueError) as error:
            raise MertError(f"{path}: cannot be read ({error}); remove it, and the same command hears it again") from None
        for first in range(0, rows.shape[1], self._piece):
            piece = torch.from_numpy(rows[:, first : first + self._piece].astype(np.float32))
            yield piece[:, None].to(self.encoder.device)

    def _keep(self, wave: Tensor, name: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            rows, first = _allocate(part, (self.num_layers, num_frames(len(wave)), self.encoder.dim), np.float16), 0
            for piece in super().song(wave, name):
                rows[:, first : first + piece.size(2)] = _half(piece)[:, 0]
                first += piece.size(2)
            rows.flush()


def num_bytes(encoder: ProbedEncoder, settings: SeparationSettings, num_mixes: int, songs: Sequence[Track]) -> int:
    """Space that a `KeepingListener` fills."""
    frames = num_mixes * (settings.chunk_frames + 1) + sum(num_frames(samples_at_24k(song)) for song in songs)
    return frames * BYTES * encoder.dim * Listener(encoder, settings).num_layers


def _half(found: Tensor) -> np.ndarray:
    """Cut to what half precision can hold: infinite features would end the training."""
    most = torch.finfo(torch.float16).max
    return found.clamp(-most, most).half().cpu().numpy()


def _open(path: Path, shape: Tuple[int, ...], dtype) -> np.ndarray:
    if not path.exists():
        with written_whole(path) as part:
            _allocate(part, shape, dtype).flush()
    try:
        map_array(path)
    except (OSError, ValueError) as error:
        raise MertError(f"{path}: cannot be read ({error}); remove it, and the same command hears it again") from None
    found = np.lib.format.open_memmap(path, mode="r+")
    if found.shape != shape:
        raise MertError(f"{path}: of shape {found.shape}, {shape} wanted; remove its folder")
    return found


def _allocate(path: Path, shape: Tuple[int, ...], dtype) -> np.ndarray:
    """An array of zeros in a part file, its space taken at once."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, rows.offset + size)
        return rows
    except OSError as error:
        raise MertError(f"{path.parent}: {size / 1e9:.1f} GB for features cannot be taken ({error.strerror}); make room") from None
