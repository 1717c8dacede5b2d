"""The target store: one folder per split and teacher, sharded, memory-mapped, checked on read.

    LABEL_DIR/train.encodec/shard-00000-of-00004.npy     plain array [frames, width]: uint16 codes or float16 CQT
    LABEL_DIR/train.encodec/shard-00000-of-00004.json    what the array is: see `ShardInfo`

Shard i of N covers a contiguous range of manifest rows, so N workers need no coordinator. A shard is written under a temporary
name and renamed, the JSON last: a JSON that is there means a complete shard, and a rerun skips it.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

import numpy as np

from mert_fairseq.data.manifest import Manifest
from mert_fairseq.errors import MertError

FORMAT = "mert-target-store"
VERSION = 1
DTYPES = {"codes": "uint16", "cqt": "float16"}
MAKE_AGAIN = "run `mert labels` again"


@dataclass
class ShardInfo:
    """The JSON beside a shard."""

    kind: str  # "codes" or "cqt"
    teacher: str  # name of the teacher that made it
    width: int  # K codebooks or Q bins
    frame_rate: float  # Hz
    rows: Tuple[int, int]  # first and one past the last row of the manifest
    frames: List[int]  # frames of each row; 0 where a bad file was allowed
    num_classes: Optional[List[int]]  # entries of each codebook; None for CQT
    settings: Dict[str, Any]  # what the teacher was told
    weights_sha256: Optional[str]  # of the teacher's weights; None if it has none
    manifest_sha256: str  # of the manifest's rows covered
    data_sha256: str = ""  # of the array's bytes
    format: str = FORMAT
    version: int = VERSION
    notes: Dict[str, Any] = field(default_factory=dict)  # e.g. rows whose file was bad


def store_folder(label_dir: str, split: str, name: str) -> Path:
    """Folder of one split's targets of one teacher: LABEL_DIR/{split}.{name}."""
    return Path(label_dir) / f"{split}.{name}"


def shard_path(folder: Path, shard: int, num_shards: int) -> Path:
    """The array of shard `shard` of `num_shards`; its JSON has the same stem."""
    return Path(folder) / f"shard-{shard:05d}-of-{num_shards:05d}.npy"


def shard_rows(num_rows: int, shard: int, num_shards: int) -> Tuple[int, int]:
    """Contiguous rows of one shard, sizes differing by at most one."""
    if not 0 <= shard < num_shards or num_shards > num_rows:
        raise MertError(f"shard {shard} of {num_shards}: need 0 <= shard < nshard <= {num_rows}, the rows of the manifest")
    return num_rows * shard // num_shards, num_rows * (shard + 1) // num_shards


def write_shard(path: Path, info: ShardInfo, arrays: Iterable[np.ndarray]) -> None:
    """Writes the rows' arrays [frames, width] one after another; nothing stands under `path` before all of it is on disk.

    Args:
        info: `frames` and `data_sha256` are filled in here.
        arrays: one array per manifest row covered, in order; an empty one [0, width] marks a bad file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    dtype, digest, info.frames = np.dtype(DTYPES[info.kind]), hashlib.sha256(), []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as out:
            _write_header(out, dtype, 0, info.width)
            for array in arrays:
                rows = np.ascontiguousarray(array, dtype=dtype)
                assert rows.ndim == 2 and rows.shape[1] == info.width, rows.shape
                digest.update(rows.data)
                out.write(rows.data)
                info.frames.append(len(rows))
            out.seek(0)
            _write_header(out, dtype, sum(info.frames), info.width)
            out.flush()
            os.fsync(out.fileno())
        info.data_sha256 = digest.hexdigest()
        path.with_suffix(".json").unlink(missing_ok=True)  # of an array that was there: it must not describe the new one
        os.replace(temporary, path)
        _write_json(path.with_suffix(".json"), info)
    except OSError as error:
        mend = "make room or pick another folder and run again"
        raise MertError(f"{path}: cannot be written ({error.strerror}); {mend}") from error
    finally:
        if path.parent.is_dir():
            temporary.unlink(missing_ok=True)


def _write_header(out, dtype: np.dtype, frames: int, width: int) -> None:
    # numpy pads the header so that a longer array can be declared later in the same space.
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (frames, width)}
    np.lib.format.write_array_header_1_0(out, header)


def _write_json(path: Path, info: ShardInfo) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "w", encoding="utf-8") as out:
            json.dump(asdict(info), out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_info(path: Path) -> ShardInfo:
    """The JSON of the shard at `path` (.npy), its format and version checked."""
    side = path.with_suffix(".json")
    try:
        content = json.loads(side.read_text(encoding="utf-8"))
        info = ShardInfo(**{key: value for key, value in content.items() if key in ShardInfo.__dataclass_fields__})
        _check_types(info)
    except FileNotFoundError:
        raise MertError(f"{side}: missing; make the shard with `mert labels`") from None
    except OSError as error:
        raise MertError(f"{side}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise MertError(f"{side}: not the description of a shard ({error}); delete it and {MAKE_AGAIN}") from None
    if (info.format, info.version) != (FORMAT, VERSION):
        found = f"format {info.format!r} version {info.version}"
        raise MertError(f"{side}: {found}, this program reads {FORMAT!r} version {VERSION}; delete the folder and {MAKE_AGAIN}")
    return info


def _check_types(info: ShardInfo) -> None:
    """Raises ValueError or TypeError for values of an edited or garbled JSON that arithmetic would trip over."""
    sizes = [] if info.num_classes is None else list(info.num_classes)
    if not all(isinstance(number, int) and number >= 0 for number in [*info.rows, *info.frames, *sizes, info.width]):
        raise ValueError("rows, frames, num_classes and width must be whole numbers")
    if info.kind not in list(DTYPES) or len(info.rows) != 2 or (info.kind == "codes" and len(sizes) != info.width):
        raise ValueError(f"kind {info.kind!r}, rows {info.rows}, width {info.width}, num_classes {info.num_classes}")


def open_array(path: Path, info: ShardInfo) -> np.ndarray:
    """The shard's array, memory-mapped, after its size, type and shape were compared with its JSON."""
    mend = f"delete it and {MAKE_AGAIN}"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise MertError(f"{path}: missing; {MAKE_AGAIN}") from None
    except (ValueError, OSError, EOFError) as error:
        raise MertError(f"{path}: truncated or damaged ({error}); {mend}") from None
    expected = (sum(info.frames), info.width)
    if array.shape != expected or array.dtype != DTYPES[info.kind]:
        raise MertError(f"{path}: holds {array.shape} {array.dtype}, its JSON says {expected} {DTYPES[info.kind]}; {mend}")
    return array


def shards_of(folder: Path) -> List[Path]:
    """All shards' paths (present or not) of a store, in order; the number is read from the names of the JSON files."""
    folder = Path(folder)
    if not folder.is_dir():
        raise MertError(f"{folder}: no such folder of targets; make it with `mert labels` or set task.label_dir and task.labels")
    present = sorted(folder.glob("shard-*-of-*.json"))
    counts = {path.stem.rsplit("-", 1)[1] for path in present}
    if len(counts) != 1 or not all(count.isdigit() for count in counts):
        found = "no complete shard" if not present else f"shards of {len(counts)} different divisions ({sorted(counts)})"
        raise MertError(f"{folder}: {found}; run `mert labels` with one --nshard for all shards")
    num_shards = int(counts.pop())
    return [shard_path(folder, shard, num_shards) for shard in range(num_shards)]


class TargetStore:
    """All shards of one folder, read by manifest row without loading anything.

    Args:
        folder: LABEL_DIR/{split}.{name}.
        manifest: the manifest the targets must belong to.
        kind: "codes" or "cqt".
        frame_rate: Hz that training expects.

    Raises:
        MertError: a shard is missing, truncated, of another manifest, kind or rate; the file is named.
    """

    def __init__(self, folder: Path, manifest: Manifest, kind: str, frame_rate: float):
        self.folder, self.manifest, self.kind = Path(folder), manifest, kind
        self.paths = shards_of(self.folder)
        infos = [read_info(path) for path in self.paths]
        for shard, (path, info) in enumerate(zip(self.paths, infos)):
            self._check_shard(path, info, shard, frame_rate)
        first = infos[0]
        self.width, self.num_classes, self.teacher = first.width, first.num_classes, first.teacher
        self.num_frames = np.concatenate([np.asarray(info.frames, dtype=np.int64) for info in infos])
        self._first_row = np.asarray([info.rows[0] for info in infos] + [len(manifest)])
        self._offset = np.concatenate([np.concatenate([[0], np.cumsum(info.frames)[:-1]]) for info in infos]).astype(np.int64)
        self._arrays: List[np.ndarray] = [open_array(path, info) for path, info in zip(self.paths, infos)]
        self._check_same_teacher(infos)

    def _check_shard(self, path: Path, info: ShardInfo, shard: int, frame_rate: float) -> None:
        if info.kind != self.kind:
            raise MertError(f"{path}: holds {info.kind}, {self.kind} wanted; check task.labels and task.cqt_labels")
        again = f"delete the folder and {MAKE_AGAIN}"
        if info.frame_rate != frame_rate:
            raise MertError(f"{path}: {info.frame_rate} frames per second, the task's label_rate is {frame_rate}; {again}")
        stale = f"it belongs to another manifest; {again}"
        if len(self.paths) > len(self.manifest):
            raise MertError(f"{path}: one of {len(self.paths)} shards, the manifest has {len(self.manifest)} rows: {stale}")
        rows = shard_rows(len(self.manifest), shard, len(self.paths))
        if tuple(info.rows) != rows or len(info.frames) != rows[1] - rows[0]:
            found = f"covers rows {list(info.rows)} with frames of {len(info.frames)}"
            raise MertError(f"{path}: {found}, this manifest needs {list(rows)}: {stale}")
        if info.manifest_sha256 != self.manifest.rows_hash(*rows):
            raise MertError(f"{path}: hash of the manifest's rows {list(rows)} differs: {stale}")

    def _check_same_teacher(self, infos: List[ShardInfo]) -> None:
        for path, info in zip(self.paths, infos):
            for key in ("width", "num_classes", "teacher", "weights_sha256", "settings"):
                if getattr(info, key) != getattr(infos[0], key):
                    raise MertError(f"{path}: {key} differs from the first shard's; make all shards with one teacher")

    def read(self, row: int, start: int, stop: int) -> np.ndarray:
        """Frames start..stop of one manifest row, [stop - start, width]: a view of the file.

        Raises:
            MertError: the row has fewer frames, or a code is outside its codebook.
        """
        if not 0 <= start <= stop <= self.num_frames[row]:
            held = self.num_frames[row]
            raise MertError(f"{self.folder}: row {row} has {held} frames, {start}..{stop} wanted; run `mert labels check`")
        shard = int(np.searchsorted(self._first_row, row, side="right")) - 1
        first = int(self._offset[row]) + start
        frames = self._arrays[shard][first : first + stop - start]
        if self.num_classes is not None:
            self.check_codes(frames, f"{self.paths[shard]}: row {row}")
        return frames

    def check_codes(self, frames: np.ndarray, where: str) -> None:
        """Refuses codes [T, K] that are not below their codebook's size."""
        if len(frames) and (frames.max(axis=0) >= self.num_classes).any():
            codebook = int((frames.max(axis=0) >= self.num_classes).argmax())
            raise MertError(
                f"{where}: code {frames[:, codebook].max()} of codebook {codebook}, 0..{self.num_classes[codebook] - 1} allowed; "
                f"delete the shard and {MAKE_AGAIN}"
            )

    def blocks(self, num_frames: int) -> Iterator[np.ndarray]:
        """All frames in order, at most `num_frames` at a time, [T, width]."""
        for array in self._arrays:
            for first in range(0, len(array), num_frames):
                yield array[first : first + num_frames]
