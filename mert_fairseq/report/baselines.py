"""What can be predicted without hearing: code frequencies and the mean spectrum, on the held-out tracks."""

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence

import numpy as np

from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.target_store import TargetStore, store_folder
from mert_fairseq.frames import FRAME_RATE

BLOCK = 1 << 15  # frames read at a time


@dataclass
class CodeBaseline:
    """Figures of one codebook on held-out frames.

    Attributes:
        entropy: of the held-out codes' own distribution, nats: the best a constant guess can do.
        cross_entropy: of the training tracks' distribution (add-one smoothed), nats.
        accuracy_train: share of held-out frames that have the training tracks' most frequent code.
        accuracy_heldout: the same for the held-out tracks' own most frequent code.
    """

    entropy: float
    cross_entropy: float
    accuracy_train: float
    accuracy_heldout: float


@dataclass
class CQTBaseline:
    """Mean squared error on held-out frames of the training tracks' mean spectrum, and of the held-out tracks' own."""

    mse_train: float
    mse_heldout: float


def open_stores(data: str, label_dir: str, split: str, names: Sequence[str], kind: str) -> List[TargetStore]:
    """Stores of a split, checked against its manifest."""
    manifest = read_manifest(Path(data) / f"{split}.tsv")
    return [TargetStore(store_folder(label_dir, split, name), manifest, kind, float(FRAME_RATE)) for name in names]


def code_baselines(train: Sequence[TargetStore], valid: Sequence[TargetStore]) -> List[CodeBaseline]:
    """One per codebook, stores side by side."""
    baselines: List[CodeBaseline] = []
    for train_store, valid_store in zip(train, valid):
        for train_counts, valid_counts in zip(_code_counts(train_store), _code_counts(valid_store)):
            baselines.append(_code_baseline(train_counts, valid_counts))
    return baselines


def _code_counts(store: TargetStore) -> List[np.ndarray]:
    counts = [np.zeros(size, dtype=np.int64) for size in store.num_classes]
    for block in store.blocks(BLOCK):
        store.check_codes(block, str(store.folder))
        for codebook, tally in enumerate(counts):
            tally += np.bincount(block[:, codebook], minlength=len(tally))
    return counts


def _code_baseline(train_counts: np.ndarray, valid_counts: np.ndarray) -> CodeBaseline:
    train, valid = (train_counts + 1) / (train_counts + 1).sum(), valid_counts / valid_counts.sum()
    seen = valid > 0
    return CodeBaseline(
        entropy=float(-(valid[seen] * np.log(valid[seen])).sum()),
        cross_entropy=float(-(valid[seen] * np.log(train[seen])).sum()),
        accuracy_train=float(valid[train_counts.argmax()]),
        accuracy_heldout=float(valid.max()),
    )


def cqt_baseline(train: TargetStore, valid: TargetStore) -> CQTBaseline:
    """Errors of a constant spectrum, averaged over frames and bins as the training loss is."""
    train_mean, _ = _moments(train)
    valid_mean, valid_square = _moments(valid)
    variance = float((valid_square - valid_mean**2).mean())
    return CQTBaseline(mse_train=variance + float(((valid_mean - train_mean) ** 2).mean()), mse_heldout=variance)


def _moments(store: TargetStore):
    total, square, frames = np.zeros(store.width), np.zeros(store.width), 0
    for block in store.blocks(BLOCK):
        values = block.astype(np.float64)
        total, square, frames = total + values.sum(0), square + (values**2).sum(0), frames + len(values)
    return total / frames, square / frames


def cqt_baseline_of(task, names: Optional[str]) -> Optional[CQTBaseline]:
    """The CQT's baseline of a run's task settings; None if the run has no CQT store."""
    if names is None:
        return None
    return cqt_baseline(*(open_stores(task.data, task.label_dir, split, [names], "cqt")[0] for split in ("train", "valid")))
