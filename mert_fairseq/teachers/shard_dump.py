"""The loop of every dump: shard by shard, complete ones skipped, one with too many bad rows given up, all others done."""

import logging
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Sequence, Tuple

import numpy as np

from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.part_files import remove_abandoned
from mert_fairseq.data.shard import ShardInfo, open_array, read_info, shard_path, shard_rows, write_shard
from mert_fairseq.errors import MertError

logger = logging.getLogger(__name__)

SHOWN = 5  # bad rows in an error's line; each is logged as it is met


class DamagedFiles(MertError):
    """More rows were bad than allowed; everything else was done."""


class _TooManyBad(Exception):
    """A shard has bad rows that are not allowed; what was written of it is given up."""


class BadRows:
    """Rows that get no targets, counted over the whole store, so that the same command gives the same verdict at every run.

    Args:
        folder: the store; rows that its complete shards have noted count.
        allow_bad: rows of the whole store that may become empty rows, each noted in its shard's JSON.
        what: their name in the refusal, e.g. "damaged files".
    """

    def __init__(self, folder: Path, allow_bad: int, what: str) -> None:
        self.rows: List[str] = []
        self._allow_bad, self._what = allow_bad, what
        self._allowed = self._limit = max(0, allow_bad - num_bad_rows(folder))

    def add(self, info: ShardInfo, row: int, reason: str) -> None:
        """Notes a row in its shard and in the log."""
        self.rows.append(f"row {row}: {reason}")
        logger.warning(f"{self._what}: {self.rows[-1]}")
        info.notes.setdefault("bad_rows", {})[str(row)] = reason

    @property
    def too_many(self) -> bool:
        """Whether the shard at hand will be given up."""
        return len(self.rows) > self._limit

    def begin_shard(self) -> None:
        """Before a shard's first row is asked for: bad rows of earlier shards do not stop this one."""
        self._limit = max(self._allowed, len(self.rows))

    def within_limit(self, rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """A shard's rows; raises behind the last, when all bad ones are known."""
        yield from rows
        if self.too_many:
            raise _TooManyBad

    def refuse(self) -> None:
        """Raises DamagedFiles, naming them, if there were more than allowed."""
        if len(self.rows) > self._allowed:
            more = f"; and {len(self.rows) - SHOWN} more, named above" if len(self.rows) > SHOWN else ""
            allowed = f"{self._allow_bad} in the whole store allowed by --allow-bad"
            raise DamagedFiles(f"{len(self.rows)} {self._what} ({allowed}): {'; '.join(self.rows[:SHOWN])}{more}")


def dump_shards(
    manifest: Manifest,
    folder: Path,
    num_shards: int,
    shards: Sequence[int],
    info_of: Callable[[Tuple[int, int]], ShardInfo],
    rows_of: Callable[[ShardInfo, Path], Iterable[np.ndarray]],
    bad: BadRows,
    advance: Callable[[int], None],
) -> int:
    """Writes the given shards, skipping those that are complete; returns how many were written.

    Args:
        info_of: (first row, row behind the last) -> what the shard will say of itself.
        rows_of: its rows' targets in order; adds bad rows to `bad` and yields empty ones for them.
        advance: called with the samples of each shard that is skipped.

    Raises:
        DamagedFiles: after all the rest is done, if more rows were bad than allowed.
    """
    refuse_other_division(folder, num_shards)
    remove_abandoned(folder)
    written = 0
    for shard in shards:
        path = shard_path(folder, shard, num_shards)
        info = info_of(shard_rows(len(manifest), shard, num_shards))
        if is_complete(path, info):
            advance(int(manifest.num_samples[slice(*info.rows)].sum()))
            continue
        bad.begin_shard()
        try:
            write_shard(path, info, bad.within_limit(rows_of(info, path)))
            written += 1
        except _TooManyBad:
            logger.error(f"{path.name} not written")
    bad.refuse()
    return written


def refuse_other_division(folder: Path, num_shards: int) -> None:
    """Shards of two divisions in one folder cannot be read; said before hours of work rather than after."""
    others = [path for path in folder.glob("shard-*-of-*.json") if path.stem.rsplit("-", 1)[1] != f"{num_shards:05d}"]
    if others:
        mend = "give the same --nshard or delete the folder"
        raise MertError(f"{folder}: holds {min(others).stem}, --nshard {num_shards} given; {mend}")


def num_bad_rows(folder: Path) -> int:
    """Rows that complete shards of a store have noted as bad; a shard that cannot be read counts none."""
    found = 0
    for side in Path(folder).glob("shard-*-of-*.json"):
        try:
            found += len(read_info(side.with_suffix(".npy")).notes.get("bad_rows", {}))
        except MertError as error:
            logger.warning(str(error))
    return found


def is_complete(path: Path, wanted: ShardInfo) -> bool:
    """Whether the shard is there; refuses one of another teacher or manifest rather than mixing or overwriting it."""
    if not (path.is_file() and path.with_suffix(".json").is_file()):
        return False
    present = read_info(path)
    for key in ("kind", "teacher", "weights_sha256", "manifest_sha256", "num_classes", "settings"):
        if getattr(present, key) != getattr(wanted, key):
            raise MertError(f"{path}: present, but its {key} is another; delete {path.parent} or write to another --name")
    open_array(path, present)
    return True
