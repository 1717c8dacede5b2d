"""Crops of audio with the frames of their targets: only the crop's samples and frames are read.

Crops start on the 320-sample grid, so that sample 320 t, frame t of the codes and frame t of the CQT stay together.
Everything drawn follows from (seed, epoch, item): the same whatever the number of workers, and after a resume.
"""

import logging
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from fairseq.data import FairseqDataset
from torch import Tensor
from torch.utils.data import get_worker_info

from mert_fairseq.class_ids import NUM_SPECIALS, PAD
from mert_fairseq.data.audio import AudioError, read_audio
from mert_fairseq.data.batch_storage import lie_together
from mert_fairseq.data.crop_settings import CropSettings
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.frames import HOP, floor_to_grid, num_conv_frames

logger = logging.getLogger(__name__)


class MERTDataset(FairseqDataset):
    """Items are crops; see `CropSettings`.

    Args:
        manifest: rows of audio files.
        code_stores: acoustic targets; their codebooks are laid side by side.
        cqt_store: musical targets, or None (the model computes them from the wave).
        conv_layers: the model's convolution stack, for the number of frames of a crop.
        seed: of the crops' places and the order of batches.
        max_bad_files: damaged files tolerated before training stops.
    """

    def __init__(
        self,
        manifest: Manifest,
        code_stores: Sequence[TargetStore],
        cqt_store: Optional[TargetStore],
        crop: CropSettings,
        conv_layers: Sequence[Tuple[int, int, int]],
        seed: int = 1,
        max_bad_files: int = 0,
    ):
        self.manifest, self.code_stores, self.cqt_store = manifest, list(code_stores), cqt_store
        self.crop, self.conv_layers, self.seed, self.max_bad_files = crop, conv_layers, seed, max_bad_files
        self.epoch = 1
        self._rows, self._first_item = self._lay_out_items()
        # Shared with loader processes: one flag per row whose file could not be read.
        self._bad_rows = torch.zeros(len(manifest), dtype=torch.bool).share_memory_()
        self._check_lengths()

    def _lay_out_items(self) -> Tuple[np.ndarray, np.ndarray]:
        """Usable rows, and the first item of each (cumulative; the last entry is the number of items)."""
        num_samples = self.manifest.num_samples
        usable = num_samples >= self.crop.min_samples
        too_short = len(usable) - int(usable.sum())
        for store in self._stores():
            usable &= store.num_frames > 0
        skipped = len(usable) - int(usable.sum()) - too_short
        left_out = f"{too_short} shorter than {self.crop.min_samples} samples (task.min_sample_size), {skipped} without targets"
        logger.info(f"{len(usable)} files, {left_out}")
        rows = np.flatnonzero(usable)
        if len(rows) == 0:
            raise MertError(f"{self.manifest.root}: none of {len(usable)} files can be used: {left_out}")
        fitting = np.maximum(1, num_samples[rows] // self.crop.max_samples)
        crops = fitting if self.crop.per_file == 0 else np.full(len(rows), self.crop.per_file)
        return rows, np.concatenate([[0], np.cumsum(crops)])

    def _stores(self) -> List[TargetStore]:
        return self.code_stores + ([self.cqt_store] if self.cqt_store is not None else [])

    def _check_lengths(self) -> None:
        """Every usable row's targets must cover its audio; one frame less is what rounding may cost."""
        needed = self.manifest.num_samples[self._rows] // HOP
        for store in self._stores():
            short = np.flatnonzero(store.num_frames[self._rows] < needed)
            if len(short):
                row = int(self._rows[short[0]])
                raise MertError(
                    f"{store.folder}: row {row} ({self.manifest.relative_path(row)}) has {store.num_frames[row]} frames, its audio "
                    f"needs {needed[short[0]]}; delete the folder and run `mert labels` again"
                )

    def set_epoch(self, epoch: int) -> None:
        """Called by fairseq before the loader processes of an epoch start."""
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """No: batches are drawn anew each epoch, the same ones whether or not the run was interrupted."""
        return False

    def __len__(self) -> int:
        return int(self._first_item[-1])

    def row_of(self, index: int) -> Tuple[int, int]:
        """(manifest row, which crop of it) of an item."""
        position = int(np.searchsorted(self._first_item, index, side="right")) - 1
        return int(self._rows[position]), int(index - self._first_item[position])

    def place_of(self, index: int) -> Tuple[int, int, int]:
        """(manifest row, first sample, number of samples) of an item in the current epoch."""
        row, nth = self.row_of(index)
        available = int(self.manifest.num_samples[row])
        length = min(self.crop.max_samples, available)
        steps = (available - length) // HOP
        if self.crop.random:
            start = int(np.random.default_rng([self.seed, self.epoch, index]).integers(0, steps + 1))
        else:
            start = min(nth * self.crop.max_samples // HOP, steps)
        return row, start * HOP, length

    def __getitem__(self, index: int) -> Optional[Dict[str, object]]:
        """One crop: wave [S] float32, codes [T, K] int64, cqt [T, Q] or None; None for a damaged file that is tolerated."""
        row, start, length = self.place_of(int(index))
        try:
            wave = read_audio(self.manifest.path(row), start, length, int(self.manifest.num_samples[row]))
        except AudioError as error:
            self._count_bad(row, error)
            return None
        first, frames = start // HOP, num_conv_frames(length, self.conv_layers)
        codes = np.concatenate([store.read(row, first, first + frames) for store in self.code_stores], axis=1)
        cqt = None if self.cqt_store is None else torch.from_numpy(np.array(self.cqt_store.read(row, first, first + frames)))
        return {"id": int(index), "wave": torch.from_numpy(wave), "codes": torch.from_numpy(codes.astype(np.int64)), "cqt": cqt}

    def _count_bad(self, row: int, error: AudioError) -> None:
        if not self._bad_rows[row]:
            self._bad_rows[row] = True
            logger.warning(f"damaged file {int(self._bad_rows.sum())}, {self.max_bad_files} allowed: {error}")
        if int(self._bad_rows.sum()) > self.max_bad_files:
            raise MertError(f"{error} (task.max_bad_files={self.max_bad_files} damaged files are allowed)")

    @property
    def bad_files(self) -> List[str]:
        """Files that could not be read so far, in any loader process."""
        return [self.manifest.relative_path(int(row)) for row in np.flatnonzero(self._bad_rows.numpy())]

    def collater(self, samples: List[Optional[Dict[str, object]]]) -> Dict[str, object]:
        """A batch as the criterion wants it; crops of unequal length are cut to the shortest, or padded if so set."""
        samples = [sample for sample in samples if sample is not None]
        if not samples:
            return {}
        lengths = [len(sample["wave"]) for sample in samples]
        length = max(lengths) if self.crop.pad else min(lengths)
        if len(set(lengths)) > 1 and not self.crop.pad:
            length = floor_to_grid(length)
        frames = num_conv_frames(length, self.conv_layers)
        source = torch.stack([_fit(sample["wave"], length, 0.0) for sample in samples])
        targets = torch.stack([_fit(sample["codes"] + NUM_SPECIALS, frames, PAD) for sample in samples])
        # On-the-fly CQT needs the wave in full precision, and fairseq's half-precision modes round float32 but leave float64 alone.
        net_input = {"source": source.double() if self.cqt_store is None else source, "padding_mask": _padding(lengths, length)}
        net_input["ids"] = [sample["id"] for sample in samples]  # a list stays on the host, where random draws are made
        if self.cqt_store is not None:
            net_input["cqt_targets"] = torch.stack([_fit(sample["cqt"], frames, 0.0) for sample in samples])
        batch = {"id": torch.tensor(net_input["ids"]), "net_input": net_input, "target_list": list(targets.unbind(-1))}
        return batch if get_worker_info() is None else lie_together(batch)

    def num_tokens(self, index: int) -> int:
        """Samples of an item."""
        return self.size(index)

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """Samples of several items."""
        positions = np.searchsorted(self._first_item, indices, side="right") - 1
        return np.minimum(self.manifest.num_samples[self._rows[positions]], self.crop.max_samples)

    @property
    def longest(self) -> int:
        """Samples of the longest item."""
        return int(min(self.manifest.num_samples[self._rows].max(), self.crop.max_samples))

    def size(self, index: int) -> int:
        """Samples of an item."""
        return int(min(self.manifest.num_samples[self.row_of(index)[0]], self.crop.max_samples))

    def ordered_indices(self) -> np.ndarray:
        """Items in an order drawn from (seed, epoch), longest first within it, so that batches hold equal lengths.

        The first crops of a validation split are thus a fair sample of it (fairseq gives it epoch 1 every time).
        """
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self))
        order = order[np.argsort(-self.num_tokens_vec(order), kind="stable")]
        return order[: self.crop.most] if self.crop.most else order


def _fit(values: Tensor, length: int, fill: float) -> Tensor:
    """Cuts or pads the first dimension to `length`."""
    if len(values) >= length:
        return values[:length]
    padded = values.new_full((length, *values.shape[1:]), fill)
    padded[: len(values)] = values
    return padded


def _padding(lengths: List[int], length: int) -> Optional[Tensor]:
    """[B, S] bool, True on padding; None if nothing is padded."""
    if min(lengths) >= length:
        return None
    return torch.arange(length)[None, :] >= torch.tensor(lengths)[:, None]
