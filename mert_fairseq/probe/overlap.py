"""Whether what an encoder was trained on holds what it is tested on.

    report = find_overlap(Path("manifests/train.tsv"), task.load(data).of("test"), cache=Path("cache/fingerprints"))
    report.warning("GTZAN")      # "GTZAN: 3 of 290 test items are in the training data ..." or ""

Test recordings make an index of landmarks; training files pass by it one at a time, so memory follows the test set alone.
"""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np

from mert_fairseq.data.audio import AudioError
from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.scan import usable_cpus
from mert_fairseq.probe.audio_check import files_of
from mert_fairseq.probe.fingerprint import Fingerprint, FingerprintCache, landmarks
from mert_fairseq.probe.items import Item

#: Share of landmarks in common at one shift in time, of those of the recording that has fewer. Measured: of 41 composed tracks (2 h)
#: other music had 0.005 at most, and made-up music in the same key and tempo with the same drum sample 0.1; whole copies and excerpts of
#: 10 s had 0.3 and more as MP3 at 110 kbit/s, and 35 of 37 excerpts were found at 40 kbit/s.
SURE_SHARE = 0.2
#: Less will do, for recordings that have a part in common, where no other shift has nearly as many: loops have many such shifts.
LEAST_SHARE, LEAST_COMMON, LEAST_CONTRAST = 0.04, 12, 3.0
MOST_PLACES = 400  # of one landmark in the index; commoner ones tell nothing


@dataclass(frozen=True)
class Overlap:
    """A test item heard in training.

    Attributes:
        how: "the same audio", or "an excerpt or another encoding".
        share: of landmarks that are in common.
    """

    item: str
    train_path: Path
    how: str
    share: float


@dataclass
class OverlapReport:
    """Attributes: overlaps; how many test items and training files were looked at; what could not be read; hash of the manifest's rows."""

    overlaps: List[Overlap] = field(default_factory=list)
    num_items: int = 0
    num_files: int = 0
    unreadable: List[str] = field(default_factory=list)
    manifest_sha256: str = ""

    @property
    def items(self) -> List[str]:
        """Names of the test items that were heard in training, each once."""
        return list(dict.fromkeys(overlap.item for overlap in self.overlaps))

    def outcome(self) -> Dict[str, Any]:
        """What results keep of it."""
        return {
            "items": self.items,
            "test_items": self.num_items,
            "training_files": self.num_files,
            "unreadable": len(self.unreadable),
            "manifest_sha256": self.manifest_sha256,
        }

    def warning(self, task: str) -> str:
        """One line, or "" where nothing overlaps."""
        if not self.overlaps:
            return ""
        first = self.overlaps[0]
        return (
            f"{task}: {len(self.items):,} of {self.num_items:,} test items are in the training data,"
            f" e.g. {first.item} in {first.train_path} ({first.how});"
            " the score is not one of unheard music: train without these files, or say so beside the score"
        )


class LandmarkIndex:
    """Landmarks of recordings, to be asked which of them another one has parts in common with."""

    def __init__(self, recordings: Sequence[Fingerprint]):
        found = [landmarks(recording.peaks) for recording in recordings]
        self._counts = np.array([len(pairs) for pairs, _ in found], np.int64)
        pairs = np.concatenate([pairs for pairs, _ in found]) if found else np.zeros(0, np.uint32)
        order = np.argsort(pairs, kind="stable")
        self._pairs = pairs[order]
        self._owner = np.repeat(np.arange(len(found)), self._counts)[order]
        self._frame = np.concatenate([frames for _, frames in found])[order] if found else np.zeros(0, np.int64)

    def matches(self, recording: Fingerprint) -> Dict[int, float]:
        """Number of a recording in the index -> share of landmarks in common, at the shift in time with most of them."""
        pairs, frames = landmarks(recording.peaks)
        first, last = np.searchsorted(self._pairs, pairs, "left"), np.searchsorted(self._pairs, pairs, "right")
        kept = (last > first) & (last - first <= MOST_PLACES)
        lengths = (last - first)[kept]
        if not lengths.sum():
            return {}
        places = np.repeat(first[kept] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        shifts = np.repeat(frames[kept], lengths) - self._frame[places]
        owners = self._owner[places]
        shares = {int(owner): self._share(shifts[owners == owner], len(pairs), int(self._counts[owner])) for owner in np.unique(owners)}
        return {owner: share for owner, share in shares.items() if share > 0}

    @staticmethod
    def _share(shifts: np.ndarray, count: int, other: int) -> float:
        """Of landmarks in common at the best shift in time; 0 if it does not stand out.

        Args:
            shifts: of each landmark that both recordings have.
            count, other: landmarks of the two.
        """
        values, votes = np.unique(shifts, return_counts=True)
        votes = votes + np.append(np.where(np.diff(values) == 1, votes[1:], 0), 0)  # a cut between two frames: both have some
        best = votes.argmax()
        elsewhere = votes[np.abs(values - values[best]) > 2]
        share = votes[best] / min(count, other)
        if votes[best] < LEAST_COMMON or share < LEAST_SHARE:
            return 0.0
        stands_out = votes[best] >= LEAST_CONTRAST * elsewhere.max(initial=1)
        return float(share) if share >= SURE_SHARE or stands_out else 0.0


def find_overlap(
    manifest: Union[str, Path],
    items: Iterable[Item],
    cache: Path,
    threads: Optional[int] = None,
    progress: Optional[Callable[[int, int], None]] = None,
) -> OverlapReport:
    """Test items whose recordings are, as a whole or in part, among the files of a training manifest.

    Args:
        items: of the test split.
        cache: folder of fingerprints; a second search of the same files takes seconds.
        progress: told how many files are done, of how many, test recordings first.
    """
    names: Dict[Path, List[str]] = defaultdict(list)
    for item in items:
        names[files_of(item)[0]].append(item.name)  # of stems the mixture
    training = read_manifest(manifest)
    train_paths = [training.path(row) for row in range(len(training))]
    report = OverlapReport(num_items=sum(map(len, names.values())), num_files=len(train_paths), manifest_sha256=training.rows_hash())
    known, index, digests = [], None, {}
    fingerprints = _fingerprints([*names, *train_paths], FingerprintCache(cache), threads or usable_cpus())
    for done, (path, found) in enumerate(fingerprints, 1):
        if isinstance(found, AudioError):
            report.unreadable.append(str(found))
        elif done <= len(names):
            known.append((path, found))
        else:
            if index is None:
                index = LandmarkIndex([recording for _, recording in known])
                digests = {recording.digest: number for number, (_, recording) in enumerate(known)}
            for number, how, share in _found_in(found, index, digests):
                report.overlaps += [Overlap(name, path, how, share) for name in names[known[number][0]]]
        if progress is not None:
            progress(done, len(names) + len(train_paths))
    return report


def _found_in(recording: Fingerprint, index: LandmarkIndex, digests: Dict[str, int]) -> List[Tuple[int, str, float]]:
    """(number of a test recording, how, share) for each that a training file holds."""
    same = digests.get(recording.digest)
    exact = [] if same is None else [(same, "the same audio", 1.0)]
    matches = sorted(index.matches(recording).items())
    return exact + [(number, "an excerpt or another encoding", share) for number, share in matches if number != same]


def _fingerprints(paths: Sequence[Path], cache: FingerprintCache, threads: int):
    """(path, fingerprint or AudioError) in order; a few ahead of what is taken."""

    def found(path: Path):
        try:
            return path, cache.get(path)
        except AudioError as error:
            return path, error

    with ThreadPoolExecutor(threads) as pool:
        ahead = []
        for path in paths:
            ahead.append(pool.submit(found, path))
            if len(ahead) > 2 * threads:
                yield ahead.pop(0).result()
        for future in ahead:
            yield future.result()
