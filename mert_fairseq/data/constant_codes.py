"""Codes that say nothing: a codebook of which a shard holds one entry alone, told before training rather than by its loss."""

import logging
from typing import Iterator, List, Tuple

import numpy as np

from mert_fairseq.data.shard import shard_rows
from mert_fairseq.data.target_store import TargetStore

logger = logging.getLogger(__name__)

MOST_SHARDS = 256  # looked at, spread over the store
ROWS = 4  # of each shard, spread over it
FRAMES = 750  # from the middle of each row: 10 s
LEAST = 75  # frames of a shard's sample, 1 s; fewer tell nothing


def warn_of_constant_codes(store: TargetStore) -> None:
    """One warning where a codebook is one code in all that is looked at of a shard: of 8 codebooks 48 KB each, 12 MB at most.

    Raises:
        MertError: what is looked at was changed since it was written.
    """
    found = list(constant_codes(store))
    if found:
        shard, codebook, code = found[0]
        more = f" (and {len(found) - 1} more like it)" if len(found) > 1 else ""
        mend = "they teach nothing: see `mert labels stats`, then make the shard again, with another teacher if need be"
        logger.warning(f"{store.paths[shard]}: codebook {codebook} is code {code} wherever it was looked at{more}; {mend}")


def constant_codes(store: TargetStore) -> Iterator[Tuple[int, int, int]]:
    """(shard, codebook, its only code) of a sample of each shard."""
    for shard in _spread(0, len(store.paths), MOST_SHARDS):
        rows = _spread(*shard_rows(len(store.manifest), shard, len(store.paths)), ROWS)
        frames = np.concatenate([_middle(store, row) for row in rows])
        if len(frames) >= LEAST:
            for codebook in np.flatnonzero((frames == frames[0]).all(axis=0)):
                yield shard, int(codebook), int(frames[0, codebook])


def _middle(store: TargetStore, row: int) -> np.ndarray:
    """Up to FRAMES frames [T, K] of a row."""
    length = int(store.num_frames[row])
    start = max(0, length - FRAMES) // 2
    return store.read(row, start, min(length, start + FRAMES))


def _spread(first: int, stop: int, most: int) -> List[int]:
    """Up to `most` of the numbers first..stop, evenly."""
    return np.unique(np.linspace(first, stop - 1, min(most, stop - first)).astype(int)).tolist()
