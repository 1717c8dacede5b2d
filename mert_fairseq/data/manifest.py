"""fairseq's audio manifest: writer beside reader.

`train.tsv` names the root folder, then one file a row with its length in samples at 24 kHz, tab between:

    /data/music
    albums/one/01.flac	7200000
    albums/one/02.ogg	5436012

Beside it lies `train.json`, which pins what the rows mean:

    {"format": "mert-manifest", "version": 1, "sample_rate": 24000, "rows": 2, "hours": 0.146250,
     "sha256": "<of the rows' bytes: every line but the first, each ended by one newline>"}

A manifest of another tool has no JSON and is taken on its word. Ten million rows stay one memory-mapped buffer and three numpy
arrays: no Python object per row, nothing copied by forked workers.
"""

import hashlib
import json
import operator
import os
from pathlib import Path
from typing import Dict, Iterable, Optional, Tuple, Union

import numpy as np

from mert_fairseq.data.manifest_rows import Rows, parse_rows
from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE

FORMAT = "mert-manifest"
VERSION = 1
MAX_ROOT_BYTES = 8192  # of the first line
MEND = "run `mert manifest AUDIO_DIR OUT_DIR` again"


class Manifest:
    """A manifest as read: rows in file order, lengths in samples at 24 kHz."""

    def __init__(self, root: Path, rows: Rows):
        self.root = root
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows.num_samples)

    @property
    def num_samples(self) -> np.ndarray:
        """Length of every file in samples at 24 kHz: int64 [N], read-only."""
        return self._rows.num_samples

    @property
    def hours(self) -> float:
        """Length of all files together in hours."""
        return int(self.num_samples.sum()) / SAMPLE_RATE / 3600

    def relative_path(self, row: int) -> str:
        """The path of a row as the manifest has it, below `root`. Raises IndexError outside 0 .. N - 1."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a manifest of {len(self)} rows")
        start = int(self._rows.starts[row])
        return os.fsdecode(self._rows.buffer[start : start + int(self._rows.path_lengths[row])].tobytes())

    def path(self, row: int) -> Path:
        """Where the file of a row lies."""
        return self.root / self.relative_path(row)

    def rows_hash(self, start: int = 0, stop: Optional[int] = None) -> str:
        """Hex sha256 of rows `start` .. `stop` (None: all) as bytes: `relative_path<TAB>num_samples<NEWLINE>` each."""
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start} to {stop} of a manifest of {len(self)} rows")
        return hashlib.sha256(self._rows.buffer[self._rows.starts[start] : self._rows.starts[stop]]).hexdigest()


def write_manifest(path: Union[str, Path], root: Union[str, Path], rows: Iterable[Tuple[str, int]]) -> None:
    """Write rows of (path below `root`, samples at 24 kHz) in the order given, and the JSON beside them.

    Each file is written under a temporary name and renamed, the JSON last, so a reader finds the old manifest, the new one, or
    a pair that does not match and is refused. Raises MertError, and leaves what was there, for rows that could not be read back.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        with open(part, "wb") as handle:
            handle.write(os.fsencode(os.path.abspath(root)) + b"\n")
            handle.writelines(b"%b\t%d\n" % (os.fsencode(name), operator.index(length)) for name, length in rows)
        manifest = _parse(part, shown_as=path)
    with written_whole(path.with_suffix(".json")) as part:
        part.write_text(_side_text(manifest), encoding="utf-8")


def read_manifest(path: Union[str, Path]) -> Manifest:
    """Read and check a manifest. Raises MertError, naming file and line, for one that is missing, malformed or edited."""
    path = Path(path)
    if not path.is_file():
        raise MertError(f"{path}: no such manifest; write it with `mert manifest AUDIO_DIR {path.parent}`")
    manifest = _parse(path, shown_as=path)
    side_path = path.with_suffix(".json")
    if side_path.exists():
        _check_side_file(manifest, path, side_path)
    return manifest


def _parse(path: Path, shown_as: Path) -> Manifest:
    """Root and rows of a manifest, without its side file; errors name `shown_as`."""
    if path.stat().st_size == 0:
        raise MertError(f"{shown_as}: empty; expected a root folder and rows of path, tab and length; {MEND}")
    buffer = _normalised(np.memmap(path, np.uint8, "r"))
    root, newline, _ = buffer[:MAX_ROOT_BYTES].tobytes().partition(b"\n")
    if not root.strip() or not newline or b"\t" in root:
        raise MertError(f"{shown_as}: line 1 is no root folder; expected the folder that the rows' paths are relative to; {MEND}")
    return Manifest(Path(os.fsdecode(root)), parse_rows(buffer, len(root) + 1, shown_as, MEND))


def _normalised(buffer: np.ndarray) -> np.ndarray:
    """The file's bytes with plain newlines and one at the end: the map itself, or a copy where it was otherwise (CRLF)."""
    first_line = buffer[:MAX_ROOT_BYTES].tobytes().partition(b"\n")[0]
    if not first_line.endswith(b"\r") and buffer[-1] == ord("\n"):
        return buffer
    text = buffer.tobytes()
    if first_line.endswith(b"\r"):
        text = text.replace(b"\r\n", b"\n")
    return np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)


def _side_text(manifest: Manifest) -> str:
    """The JSON that pins a manifest's rows."""
    side = {
        "format": FORMAT,
        "version": VERSION,
        "sample_rate": SAMPLE_RATE,
        "rows": len(manifest),
        "hours": round(manifest.hours, 6),
        "sha256": manifest.rows_hash(),
    }
    return json.dumps(side, indent=1) + "\n"


def _check_side_file(manifest: Manifest, path: Path, side_path: Path) -> None:
    """Refuse a manifest that is not the one its side file was written for."""
    try:
        side: Dict[str, object] = json.loads(side_path.read_text(encoding="utf-8"))
        found = (side["format"], side["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise MertError(f"{side_path}: not the side file of a manifest ({error}); remove it, or {MEND}") from error
    if found != (FORMAT, VERSION):
        raise MertError(f"{side_path}: format {found[0]} version {found[1]}; this program reads {FORMAT} {VERSION}; {MEND}")
    if side.get("sample_rate") != SAMPLE_RATE:
        raise MertError(f"{side_path}: lengths at {side.get('sample_rate')} Hz; they must be at {SAMPLE_RATE} Hz; {MEND}")
    if side.get("rows") != len(manifest) or side.get("sha256") != manifest.rows_hash():
        raise MertError(f"{path}: edited after writing ({side_path.name} has other rows: {side.get('rows')}); {MEND}")
