"""From manifest to target store: runs a teacher over every row and writes shards."""

import logging
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Sequence, Union

import numpy as np

from mert_fairseq.data.audio import AudioError, read_audio
from mert_fairseq.data.compact_cqt import from_bytes, to_bytes
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.part_files import remove_abandoned
from mert_fairseq.data.shard import ShardInfo, open_array, read_info, shard_path, shard_rows, write_shard
from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE
from mert_fairseq.teachers.labeller import Labeller

logger = logging.getLogger(__name__)

SHOWN = 5  # damaged files in an error's line; each is logged as it is met
READ_AHEAD = 2  # files decoded while the teacher works
NO_SAMPLES = np.zeros(0, np.float32)


def write_labels(
    manifest: Manifest,
    folder: Path,
    labeller: Labeller,
    num_shards: int,
    shards: Sequence[int],
    allow_bad: int = 0,
    advance: Callable[[int], None] = lambda num_samples: None,
) -> int:
    """Writes the given shards, skipping those that are complete; returns how many were written.

    Args:
        allow_bad: damaged files of the whole store that may become empty rows, each noted in its shard's JSON.
        advance: called with the samples of each row done.

    Raises:
        DamagedFiles: after all the rest is done, if more files were damaged than allowed; each is named.
    """
    refuse_other_division(folder, num_shards)
    remove_abandoned(folder)
    bad: List[str] = []
    allowed = max(0, allow_bad - num_bad_rows(folder))
    written = 0
    for shard in shards:
        path = shard_path(folder, shard, num_shards)
        info = _describe(manifest, labeller, shard, num_shards)
        if is_complete(path, info):
            advance(int(manifest.num_samples[slice(*info.rows)].sum()))
            continue
        rows = _ShardRows(manifest, labeller, info, bad, allowed, advance)
        try:
            write_shard(path, info, compact(rows, info, path) if labeller.compact else rows)
            written += 1
        except _TooManyBad:
            logger.error(f"{path.name} not written")
    if len(bad) > allowed:
        named = "; ".join(bad[:SHOWN]) + (f"; and {len(bad) - SHOWN} more, named above" if len(bad) > SHOWN else "")
        raise DamagedFiles(f"{len(bad)} damaged files ({allow_bad} in the whole store allowed by --allow-bad): {named}")
    return written


class DamagedFiles(MertError):
    """More files were damaged than allowed; everything else was done."""


class _TooManyBad(Exception):
    """A shard has damaged files that are not allowed; what was written of it is given up."""


def refuse_other_division(folder: Path, num_shards: int) -> None:
    """Shards of two divisions in one folder cannot be read; said before hours of work rather than after."""
    others = [path for path in folder.glob("shard-*-of-*.json") if path.stem.rsplit("-", 1)[1] != f"{num_shards:05d}"]
    if others:
        mend = "give the same --nshard or delete the folder"
        raise MertError(f"{folder}: holds {min(others).stem}, --nshard {num_shards} given; {mend}")


def num_bad_rows(folder: Path) -> int:
    """Rows that complete shards of a store have noted as damaged; a shard that cannot be read counts none."""
    found = 0
    for side in Path(folder).glob("shard-*-of-*.json"):
        try:
            found += len(read_info(side.with_suffix(".npy")).notes.get("bad_rows", {}))
        except MertError as error:
            logger.warning(str(error))
    return found


class _ShardRows:
    """The targets of a shard's rows in order, a few in memory at a time; _TooManyBad behind the last, when all bad ones are known."""

    def __init__(self, manifest, labeller, info, bad, allow_bad, advance) -> None:
        self.manifest, self.labeller, self.info, self.bad, self.advance = manifest, labeller, info, bad, advance
        self.limit = max(allow_bad, len(bad))  # a damaged file of an earlier shard does not stop this one
        lengths = manifest.num_samples[slice(*info.rows)]
        self.measured_row = info.rows[0] + int(np.argmax(lengths)) if labeller.measure and len(lengths) else None
        self.measured_wave = NO_SAMPLES

    def __iter__(self) -> Iterator[np.ndarray]:
        for row, targets in zip(range(*self.info.rows), self.labeller.label_tracks(self._waves())):
            yield targets
            self.advance(int(self.manifest.num_samples[row]))
        if len(self.bad) > self.limit:
            raise _TooManyBad
        if len(self.measured_wave):
            self.info.notes["windows_against_whole_file"] = {"row": self.measured_row, **self.labeller.measure(self.measured_wave)}

    def _waves(self) -> Iterator[np.ndarray]:
        """Every row's wave; of no samples for a damaged file, and for all files once there are too many of those."""
        for row, wave in zip(range(*self.info.rows), _read_ahead(self.manifest, range(*self.info.rows))):
            if isinstance(wave, AudioError):
                self.bad.append(f"row {row}: {wave}")
                logger.warning(f"damaged: {self.bad[-1]}")
                self.info.notes.setdefault("bad_rows", {})[str(row)] = str(wave)
                wave = NO_SAMPLES
            elif row == self.measured_row:
                self.measured_wave = wave
            yield wave if len(self.bad) <= self.limit else NO_SAMPLES


def _read_ahead(manifest: Manifest, rows: range) -> Iterator[Union[np.ndarray, AudioError]]:
    """Waves in order, the next files decoded by another thread while this one is used."""

    def read(row: int) -> Union[np.ndarray, AudioError]:
        """A file's wave, or why there is none."""
        expected = int(manifest.num_samples[row])
        try:
            wave = read_audio(manifest.path(row))
        except AudioError as error:
            return error
        if len(wave) != expected:
            mend = "it changed after the manifest was written: run `mert manifest` again"
            return AudioError(f"{manifest.path(row)}: {len(wave)} samples, its row says {expected}; {mend}", "truncated")
        return wave

    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = [pool.submit(read, row) for row in rows[:READ_AHEAD]]
        for row in rows:
            wave = waiting.pop(0).result()
            if row + READ_AHEAD < rows.stop:
                waiting.append(pool.submit(read, row + READ_AHEAD))
            yield wave


def compact(rows: Iterable[np.ndarray], info: ShardInfo, path: Path) -> Iterator[np.ndarray]:
    """CQT rows as uint8; fills in `info.scale` at once, which takes a spool on disk of all rows, and the measured error at the end."""
    largest, lengths = np.zeros(info.width, np.float32), []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        spool = tempfile.TemporaryFile(dir=path.parent)  # has no name: a killed dump leaves nothing
        for frames in rows:
            half = np.ascontiguousarray(frames, np.float16)
            spool.write(half.data)
            largest = np.maximum(largest, half.max(axis=0, initial=0).astype(np.float32))
            lengths.append(len(half))
        spool.seek(0)
    except OSError as fault:
        raise MertError(f"{path}: cannot be written ({fault.strerror}); make room or pick another folder and run again") from fault
    info.scale = [float(value) for value in largest]
    return _levels(spool, lengths, largest, info)


def _levels(spool, lengths: List[int], largest: np.ndarray, info: ShardInfo) -> Iterator[np.ndarray]:
    error = energy = 0.0
    with spool:
        for length in lengths:
            half = np.frombuffer(spool.read(2 * length * info.width), np.float16)
            frames = half.reshape(length, info.width).astype(np.float32)
            levels = to_bytes(frames, largest)
            error += float(np.square(from_bytes(levels, largest) - frames).sum())
            energy += float(np.square(frames).sum())
            yield levels
    info.notes["relative_error"] = round((error / energy) ** 0.5, 6) if energy else 0.0


def _describe(manifest: Manifest, labeller: Labeller, shard: int, num_shards: int) -> ShardInfo:
    rows = shard_rows(len(manifest), shard, num_shards)
    return ShardInfo(
        kind=labeller.kind,
        teacher=labeller.teacher,
        width=labeller.width,
        frame_rate=float(FRAME_RATE),
        rows=rows,
        frames=[],
        num_classes=labeller.num_classes,
        settings=labeller.settings,
        weights_sha256=labeller.weights_sha256,
        manifest_sha256=manifest.rows_hash(*rows),
        made_by=labeller.made_by,
    )


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
