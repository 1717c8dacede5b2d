"""From manifest to target store: runs a teacher over every row and writes shards."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterator, Sequence, Tuple, Union

import numpy as np

from mert_fairseq.data.audio import AudioError, read_audio
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.shard import ShardInfo
from mert_fairseq.frames import FRAME_RATE
from mert_fairseq.teachers.compact_rows import compact
from mert_fairseq.teachers.labeller import Labeller
from mert_fairseq.teachers.shard_dump import BadRows, dump_shards

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
    bad = BadRows(folder, allow_bad, "damaged files")

    def rows_of(info: ShardInfo, path: Path):
        """A shard's targets."""
        rows = _ShardRows(manifest, labeller, info, bad, advance)
        return compact(rows, info, path) if labeller.compact else rows

    return dump_shards(manifest, folder, num_shards, shards, lambda rows: _describe(manifest, labeller, rows), rows_of, bad, advance)


class _ShardRows:
    """The targets of a shard's rows in order, a few in memory at a time."""

    def __init__(self, manifest: Manifest, labeller: Labeller, info: ShardInfo, bad: BadRows, advance) -> None:
        self.manifest, self.labeller, self.info, self.bad, self.advance = manifest, labeller, info, bad, advance
        lengths = manifest.num_samples[slice(*info.rows)]
        self.measured_row = info.rows[0] + int(np.argmax(lengths)) if labeller.measure and len(lengths) else None
        self.measured_wave = NO_SAMPLES

    def __iter__(self) -> Iterator[np.ndarray]:
        for row, targets in zip(range(*self.info.rows), self.labeller.label_tracks(self._waves())):
            yield targets
            self.advance(int(self.manifest.num_samples[row]))
        if len(self.measured_wave) and not self.bad.too_many:
            self.info.notes["windows_against_whole_file"] = {"row": self.measured_row, **self.labeller.measure(self.measured_wave)}

    def _waves(self) -> Iterator[np.ndarray]:
        """Every row's wave; of no samples for a damaged file, and for all files once there are too many of those."""
        for row, wave in zip(range(*self.info.rows), _read_ahead(self.manifest, range(*self.info.rows))):
            if isinstance(wave, AudioError):
                self.bad.add(self.info, row, str(wave))
                wave = NO_SAMPLES
            elif row == self.measured_row:
                self.measured_wave = wave
            yield NO_SAMPLES if self.bad.too_many else wave


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


def _describe(manifest: Manifest, labeller: Labeller, rows: Tuple[int, int]) -> ShardInfo:
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
