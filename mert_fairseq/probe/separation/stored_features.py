"""Features of mixes and validation songs, kept on disk in half precision for the epochs to come.

    mixes.npy            float16 [mixes, N, T, D], filled row by row
    mixes_sums.npy       uint64 [mixes], 2^32 + the row's checksum (CRC-32); 0: not heard yet
    songs/{name}.array   float16 [N, T, D] of a whole song, see `checked_arrays`

A row of mixes that has not its checksum, be it that the machine failed as it was written, is heard again, and the log says so.
"""

import functools
import logging
import zlib
from pathlib import Path
from typing import Iterator, Sequence, Set, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from mert_fairseq.data.array_files import map_array
from mert_fairseq.data.checked_arrays import SUFFIX, filled_checked, map_checked, no_room, take_room
from mert_fairseq.data.part_files import remove_abandoned, written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.export.windows import window_frames
from mert_fairseq.probe.encoders import ProbedEncoder
from mert_fairseq.probe.separation.listening import Listener
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.spectrogram import num_frames
from mert_fairseq.probe.separation.tracks import Track, samples_at_24k

logger = logging.getLogger(__name__)

HALF, SUM = "<f2", "<u8"
BYTES = np.dtype(HALF).itemsize
HEARD = 1 << 32  # beside the checksum, which may be 0
MIXES, SUMS, OLDER = "mixes.npy", "mixes_sums.npy", "mixes_heard.npy"


class KeepingListener(Listener):
    """A listener that hears each mix and song once. Values are the kept ones from the first time on, so that a killed run goes on alike.

    Raises:
        MertError: no room on the disk, or a file that is damaged as a whole.
    """

    def __init__(self, encoder: ProbedEncoder, settings: SeparationSettings, folder: Path, num_mixes: int):
        super().__init__(encoder, settings)
        self._folder, self._piece = folder, window_frames(settings.piece_s)
        self._checked: Set[Union[int, Path]] = set()  # mixes and songs that were looked at
        self._shape = (num_mixes, self.num_layers, settings.chunk_frames + 1, encoder.dim)

    @functools.cached_property
    def _mixes(self) -> Tuple[np.ndarray, np.ndarray]:
        """Rows and their checksums; their space is taken with the first mix."""
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self._folder, "**/.*.part")
        if (self._folder / OLDER).exists():
            self._say_again(self._folder / MIXES, "has no checksums, as earlier versions wrote it")
            for older in (MIXES, OLDER):
                (self._folder / older).unlink(missing_ok=True)
        return _open(self._folder / MIXES, self._shape, HALF), _open(self._folder / SUMS, self._shape[:1], SUM)

    def chunks(self, wave: Tensor, numbers: Sequence[int]) -> Tensor:
        """As a listener's; a batch of which all is there is not heard."""
        numbers, (kept, sums) = np.asarray(numbers), self._mixes
        missing = np.array([place for place, number in enumerate(numbers.tolist()) if not self._is_kept(number)], int)
        if len(missing):
            found = super().chunks(wave[missing], numbers[missing])
            for number, row in zip(numbers[missing].tolist(), _half(found).transpose(1, 0, 2, 3)):
                kept[number] = row
                sums[number] = _checksum(kept[number])
                self._checked.add(number)
        rows = torch.from_numpy(kept[numbers].astype(np.float32))
        return rows.transpose(0, 1).to(self.encoder.device)

    def _is_kept(self, number: int) -> bool:
        """Whether a mix is there as it was written; looked at once."""
        kept, sums = self._mixes
        if number not in self._checked and sums[number]:
            if sums[number] == _checksum(kept[number]):
                self._checked.add(number)
            else:
                self._say_again(self._folder / MIXES, f"row {number} is not as it was written")
        return number in self._checked

    def song(self, wave: Tensor, name: str) -> Iterator[Tensor]:
        """As a listener's."""
        path = self._folder / "songs" / f"{name}{SUFFIX}"
        if not path.exists():
            self._keep(wave, name, path)
        rows = self._song(path, (self.num_layers, num_frames(len(wave)), self.encoder.dim))
        for first in range(0, rows.shape[1], self._piece):
            piece = torch.from_numpy(rows[:, first : first + self._piece].astype(np.float32))
            yield piece[:, None].to(self.encoder.device)

    def _song(self, path: Path, shape: Tuple[int, ...]) -> np.ndarray:
        """A kept song; read whole the first time."""
        try:
            mapped = map_checked(path, HALF, len(shape))
            if path not in self._checked:
                mapped.check()
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        self._checked.add(path)
        return _of_shape(path, mapped.array, shape)

    def _keep(self, wave: Tensor, name: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        older = path.with_suffix(".npy")
        if older.exists():
            self._say_again(older, "has no checksum, as earlier versions wrote it")
        with filled_checked(path, HALF, (self.num_layers, num_frames(len(wave)), self.encoder.dim)) as rows:
            first = 0
            for piece in super().song(wave, name):
                rows[:, first : first + piece.size(2)] = _half(piece)[:, 0]
                first += piece.size(2)
        older.unlink(missing_ok=True)

    @staticmethod
    def _say_again(path: Path, why: str) -> None:
        logger.warning(f"{path}: {why}; this is heard again")


def num_bytes(encoder: ProbedEncoder, settings: SeparationSettings, num_mixes: int, songs: Sequence[Track]) -> int:
    """Space that a `KeepingListener` fills."""
    frames = num_mixes * (settings.chunk_frames + 1) + sum(num_frames(samples_at_24k(song)) for song in songs)
    return frames * BYTES * encoder.dim * Listener(encoder, settings).num_layers


def _half(found: Tensor) -> np.ndarray:
    """Cut to what half precision can hold: infinite features would end the training."""
    most = torch.finfo(torch.float16).max
    return found.clamp(-most, most).half().cpu().numpy()


def _checksum(row: np.ndarray) -> int:
    return HEARD + zlib.crc32(row)


def _open(path: Path, shape: Tuple[int, ...], dtype: str) -> np.ndarray:
    if not path.exists():
        with written_whole(path) as part:
            _allocate(part, shape, dtype)
    try:
        found = map_array(path)
        if found.dtype != np.dtype(dtype) or not found.flags.c_contiguous:
            raise ValueError(f"no array of {dtype} row by row")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    return np.memmap(path, dtype, "r+", found.offset, _of_shape(path, found, shape).shape)


def _of_shape(path: Path, found: np.ndarray, shape: Tuple[int, ...]) -> np.ndarray:
    if found.shape != shape:
        raise MertError(f"{path}: of shape {found.shape}, {shape} wanted; remove its folder")
    return found


def _unreadable(path: Path, why: Exception) -> MertError:
    return MertError(f"{path}: cannot be read ({why}); remove it, and the same command hears it again")


def _allocate(path: Path, shape: Tuple[int, ...], dtype: str) -> None:
    """An array of zeros in a part file, its space taken at once."""
    try:
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        take_room(path, rows.offset + rows.nbytes)
    except OSError as error:
        raise no_room(path, int(np.prod(shape)) * np.dtype(dtype).itemsize, error) from None
