"""The work of `mert manifest`: find the audio files of a folder, check each, split them and write the manifests.

    OUT_DIR/train.tsv  train.json  valid.tsv  valid.json
    OUT_DIR/report.tsv    path, reason and detail of every file left out, and of every copy that was clipped, or damaged and made again

`mert_fairseq.data.manifest` has the format of the first four.
"""

import hashlib
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

from mert_fairseq.data.audio import AUDIO_SUFFIXES, is_audio_name
from mert_fairseq.data.check_pool import check_all
from mert_fairseq.data.file_check import CheckSettings, FileResult
from mert_fairseq.data.manifest import write_manifest
from mert_fairseq.data.part_files import remove_abandoned, written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.folder_lock import sole_use
from mert_fairseq.frames import SAMPLE_RATE

REPORT_NAME = "report.tsv"


@dataclass(frozen=True)
class ScanReport:
    """What a scan found and wrote."""

    root: Path  # what the manifests' paths are relative to
    report_path: Path
    num_files: int  # audio files, and links to folders, that were found
    rows: Dict[str, int]  # by split
    hours: Dict[str, float]  # by split
    rejected: Dict[str, int] = field(default_factory=dict)  # files left out, by reason
    clipped: int = 0  # files whose copy was clipped at full scale; they are kept
    remade: int = 0  # files whose copy was damaged, and made again


def scan(
    audio_dir: Union[str, Path],
    out_dir: Union[str, Path],
    valid_percent: float = 5.0,
    min_seconds: float = 3.0,
    convert: Union[str, Path, None] = None,
    workers: Optional[int] = None,
    quick: bool = False,
) -> ScanReport:
    """Write the train and valid manifest of a folder, and the report of what was left out.

    `convert` names a folder for 24 kHz mono FLAC copies, which the manifests then list; `quick` reads headers and the first
    sound only (copies are made from the whole file all the same). The same folder gives the same files again, and copies that
    are whole, which `quick` takes for granted, are not made twice. Raises MertError for settings out of range, a folder that is
    missing or has no usable file, a split without a file, and a copy that cannot be written; the manifests of an earlier run
    then stay as they were.
    """
    audio_dir, out_dir, convert = Path(audio_dir), Path(out_dir), convert and Path(convert)
    workers = usable_cpus() if workers is None else workers
    _check_settings(valid_percent, min_seconds, workers)
    _check_folders(audio_dir, convert)
    names, results = find_files(audio_dir)
    if not names:
        raise MertError(f"{audio_dir}: no audio file; expected names that end in {' '.join(AUDIO_SUFFIXES)}")
    settings = CheckSettings(audio_dir, math.ceil(min_seconds * SAMPLE_RATE), convert, quick)
    out_dir.mkdir(parents=True, exist_ok=True)
    with sole_use(out_dir, "let that scan end, or give another OUT_DIR"):  # of two, one would write train and the other valid
        _remove_abandoned(out_dir, convert)
        results += check_all(names, settings, workers)
        report_path = _write_report(out_dir, results)
        kept = _usable(results, f"{audio_dir}: none of {len(names)}", report_path)
        splits = split_rows(kept, valid_percent)
        root = convert or audio_dir
        for split, rows in splits.items():
            write_manifest(out_dir / f"{split}.tsv", root, ((row.row_path, row.num_samples) for row in rows))
    return ScanReport(
        root=root,
        report_path=report_path,
        num_files=len(results),
        rows={split: len(rows) for split, rows in splits.items()},
        hours={split: sum(row.num_samples for row in rows) / SAMPLE_RATE / 3600 for split, rows in splits.items()},
        rejected=_reasons(results),
        clipped=sum(result.num_clipped > 0 for result in kept),
        remade=sum(bool(result.damage) for result in kept),
    )


def _remove_abandoned(out_dir: Path, convert: Optional[Path]) -> None:
    """What scans that were killed left half-written."""
    remove_abandoned(out_dir, ".*.tsv.*.part")
    if convert:
        remove_abandoned(convert, "**/.*.flac.*.part")


def _reasons(results: List[FileResult]) -> Dict[str, int]:
    """Files left out by reason, the most frequent first."""
    return dict(Counter(result.reason for result in results if result.reason).most_common())


def _usable(results: List[FileResult], none: str, report_path: Path) -> List[FileResult]:
    """The files that are kept; raises MertError, beginning with `none`, where there are none."""
    kept = [result for result in results if not result.reason]
    if not kept:
        counts = ", ".join(f"{reason} {count}" for reason, count in _reasons(results).items())
        raise MertError(f"{none} audio files can be used ({counts}); {report_path} says why")
    return kept


def usable_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_files(audio_dir: Path) -> Tuple[List[str], List[FileResult]]:
    """(audio files below a folder, as sorted relative paths; folders that cannot be entered, with the reason).

    Links to folders are not followed, as they can lead in circles; they are among the reasons.
    """
    names, closed = [], []

    def relative(path: str) -> str:
        return os.path.relpath(path, audio_dir).replace(os.sep, "/")

    def note_unreadable(error: OSError) -> None:
        closed.append(FileResult(relative(error.filename), reason="unreadable_folder", detail=str(error.strerror)))

    for folder, subfolders, files in os.walk(audio_dir, onerror=note_unreadable):
        names += [relative(os.path.join(folder, name)) for name in files if is_audio_name(name)]
        for path in (os.path.join(folder, name) for name in subfolders):
            if os.path.islink(path):
                detail = f"links to folders are not followed; scan {os.path.realpath(path)} on its own"
                closed.append(FileResult(relative(path), reason="linked_folder", detail=detail))
    return sorted(names, key=os.fsencode), closed


def split_share(relative_path: str) -> float:
    """Where a path falls between 0 and 100, from its sha256: the same whatever other files there are."""
    return int.from_bytes(hashlib.sha256(os.fsencode(relative_path)).digest()[:8], "big") / 2**64 * 100


def split_rows(kept: List[FileResult], valid_percent: float) -> Dict[str, List[FileResult]]:
    """The files by split, in order. Raises MertError, naming a percentage that works, where a split would be empty."""
    shares = [split_share(result.relative_path) for result in kept]
    if min(shares) >= valid_percent or max(shares) < valid_percent:
        if len(kept) == 1:
            raise MertError("only 1 file can be used; a train and a valid split take at least 2: add files")
        empty, bound = ("valid", "at least") if min(shares) >= valid_percent else ("train", "at most")
        limit = math.floor(min(shares) * 10 + 1) / 10 if empty == "valid" else math.floor(max(shares) * 10) / 10
        raise MertError(f"--valid-percent {valid_percent:g} of {len(kept)} files leaves {empty} empty; give {bound} {limit:g}")
    splits: Dict[str, List[FileResult]] = {"train": [], "valid": []}
    for share, result in zip(shares, kept):
        splits["valid" if share < valid_percent else "train"].append(result)
    return splits


def _check_settings(valid_percent: float, min_seconds: float, workers: int) -> None:
    if not 0 < valid_percent < 100:
        raise MertError(f"--valid-percent {valid_percent:g}: allowed is more than 0 and less than 100")
    if not 0 < min_seconds < math.inf:
        raise MertError(f"--min-seconds {min_seconds:g}: allowed is more than 0 seconds")
    if workers < 1:
        raise MertError(f"--workers {workers}: allowed is 1 or more")


def _check_folders(audio_dir: Path, convert: Optional[Path]) -> None:
    """Refuse a missing audio folder, and copies that the next scan would find among the sources."""
    if not audio_dir.is_dir():
        raise MertError(f"{audio_dir}: no such folder; give the folder that holds the audio files")
    if convert:
        folders = [os.path.realpath(folder) for folder in (audio_dir, convert)]
        if os.path.commonpath(folders) in folders:
            raise MertError(f"--convert {convert}: one of it and {audio_dir} lies in the other; give a folder apart from it")


def _write_report(out_dir: Path, results: List[FileResult]) -> Path:
    """Write `report.tsv` and return where: a row for each file left out, and for each copy that was clipped, or made again."""
    rows = []
    for result in results:
        if result.reason:
            rows.append((result.relative_path, result.reason, result.detail))
        if result.damage:
            rows.append((result.relative_path, "damaged_copy", f"made again; {result.damage}"))
        if result.num_clipped:
            rows.append((result.relative_path, "clipped", f"kept; {result.num_clipped} samples beyond full scale"))
    lines = ["path\treason\tdetail"]
    for row in sorted(rows):
        lines.append("\t".join(text.translate({9: "\\t", 10: "\\n", 13: "\\r"}) for text in row))
    path = out_dir / REPORT_NAME
    with written_whole(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
    return path
