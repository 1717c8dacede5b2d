"""A shard of a target store: an array and the JSON that says what it is; writer beside reader.

    shard-00000-of-00004.npy     plain array [frames, width]: uint16 codes, float16 or uint8 CQT
    shard-00000-of-00004.json    see `ShardInfo`

A shard is written under a temporary name and renamed, the JSON last: a JSON that is there means a complete shard.

Who opens a shard compares sizes, types and the JSON's hash, who reads frames their blocks' checksums, `mert labels check` the array's hash.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np

from mert_fairseq.data.array_files import map_array
from mert_fairseq.data.block_checksums import BlockSums, read_sums
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import is_unchanged, with_hash
from mert_fairseq.json_text import parse_json

FORMAT = "mert-target-store"
VERSION = 1
DTYPES = {"codes": "uint16", "cqt": "float16"}
MAX_NUMBER = 1 << 31  # of rows, of frames of a row: 331 days
MAKE_AGAIN = "run `mert labels` again"
AGAIN = f"delete the folder and {MAKE_AGAIN}"
STALE = f"it belongs to another manifest; {AGAIN}"


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
    scale: Optional[List[float]] = None  # of each bin of a CQT kept as uint8, see `compact_cqt`
    made_by: Dict[str, Any] = field(default_factory=dict)  # what `mert labels` was told; `mert labels check --repair` tells it again
    notes: Dict[str, Any] = field(default_factory=dict)  # e.g. rows whose file was bad
    block_crc32: Optional[str] = None  # of the array's blocks, see `block_checksums`; None in shards of older versions
    content_sha256: str = ""  # of all the others; "" in shards of older versions

    @property
    def dtype(self) -> np.dtype:
        """Of the array: uint16 codes, float16 CQT, or uint8 where there is a scale."""
        return np.dtype(DTYPES[self.kind] if self.scale is None else "uint8")


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
        info: `frames`, `data_sha256` and `block_crc32` are filled in here.
        arrays: one array per manifest row covered, in order; an empty one [0, width] marks a bad file.
    """
    dtype, digest, sums, info.frames = info.dtype, hashlib.sha256(), BlockSums(), []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            with open(part, "wb") as out:
                _write_header(out, dtype, 0, info.width)
                for array in arrays:
                    rows = np.ascontiguousarray(array, dtype=dtype)
                    assert rows.ndim == 2 and rows.shape[1] == info.width, rows.shape
                    digest.update(rows.data)
                    sums.add(rows)
                    out.write(rows.data)
                    info.frames.append(len(rows))
                out.seek(0)
                _write_header(out, dtype, sum(info.frames), info.width)
                out.flush()
                os.fsync(out.fileno())
            info.data_sha256, info.block_crc32 = digest.hexdigest(), sums.text()
            _unlink_other(path.with_suffix(".json"), info)
        _write_json(path.with_suffix(".json"), info)
    except OSError as error:
        mend = "make room or pick another folder and run again"
        raise MertError(f"{path}: cannot be written ({error.strerror}); {mend}") from error


def _unlink_other(side: Path, info: ShardInfo) -> None:
    """Deletes the JSON of another array, lest it describe the new one; that of a second writer of the same shard stays true."""
    try:
        same = parse_json(side.read_text(encoding="utf-8"))["data_sha256"] == info.data_sha256
    except FileNotFoundError:
        return  # and must not be looked for again: another writer may put a true one there meanwhile
    except (ValueError, TypeError, KeyError):
        same = False
    if not same:
        side.unlink(missing_ok=True)


def _write_header(out, dtype: np.dtype, frames: int, width: int) -> None:
    # numpy pads the header so that a longer array can be declared later in the same space.
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (frames, width)}
    np.lib.format.write_array_header_1_0(out, header)


def _write_json(path: Path, info: ShardInfo) -> None:
    with written_whole(path) as part, open(part, "w", encoding="utf-8") as out:
        json.dump(with_hash(asdict(info)), out)
        out.flush()
        os.fsync(out.fileno())


def read_info(path: Path) -> ShardInfo:
    """The JSON of the shard at `path` (.npy), its format and version checked."""
    side = path.with_suffix(".json")
    try:
        content = parse_json(side.read_text(encoding="utf-8"))
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
    if not all(isinstance(number, int) and 0 <= number < MAX_NUMBER for number in [*info.rows, *info.frames, *sizes, info.width]):
        raise ValueError(f"rows, frames, num_classes and width must be whole numbers below {MAX_NUMBER}")
    if info.kind not in list(DTYPES) or len(info.rows) != 2 or (info.kind == "codes" and len(sizes) != info.width):
        raise ValueError(f"kind {info.kind!r}, rows {info.rows}, width {info.width}, num_classes {info.num_classes}")
    if info.scale is not None and (info.kind != "cqt" or len(info.scale) != info.width or not np.isfinite(info.scale).all()):
        raise ValueError(f"kind {info.kind!r}, scale of {len(info.scale)} values for width {info.width}")
    if info.block_crc32 is not None:
        read_sums(info.block_crc32, sum(info.frames))


def open_array(path: Path, info: ShardInfo) -> np.ndarray:
    """The shard's array, memory-mapped, after its size, type and shape were compared with its JSON."""
    mend = f"delete it and {MAKE_AGAIN}"
    try:
        array = map_array(path)
    except FileNotFoundError:
        raise MertError(f"{path}: missing; {MAKE_AGAIN}") from None
    except (ValueError, OSError) as error:
        raise MertError(f"{path}: truncated or damaged ({error}); {mend}") from None
    expected = (sum(info.frames), info.width)
    if array.shape != expected or array.dtype != info.dtype:
        raise MertError(f"{path}: holds {array.shape} {array.dtype}, its JSON says {expected} {info.dtype}; {mend}")
    if array.offset + array.nbytes != path.stat().st_size or not array.flags.c_contiguous:
        raise MertError(f"{path}: its header or its length was changed since it was written; {mend}")
    older = {"block_crc32"} if info.block_crc32 is None else set()  # whose hash is of the others
    content = {item.name: getattr(info, item.name) for item in fields(info) if item.name not in older}
    if not is_unchanged(content):
        raise MertError(f"{path.with_suffix('.json')}: changed since it was written (its sha256 differs); {mend}")
    return array


def check_belonging(
    path: Path, info: ShardInfo, manifest: Manifest, rows: Tuple[int, int], kind: Optional[str], frame_rate: float
) -> None:
    """Raises MertError for a shard of another kind (None: any), rate, division or manifest; `rows` are what it should cover."""
    if kind is not None and info.kind != kind:
        raise MertError(f"{path}: holds {info.kind}, {kind} wanted; check task.labels and task.cqt_labels")
    if info.frame_rate != frame_rate:
        raise MertError(f"{path}: {info.frame_rate} frames per second, the task's label_rate is {frame_rate}; {AGAIN}")
    if tuple(info.rows) != rows or len(info.frames) != rows[1] - rows[0]:
        found = f"covers rows {list(info.rows)} with frames of {len(info.frames)}"
        raise MertError(f"{path}: {found}, this manifest needs {list(rows)}: {STALE}")
    if info.manifest_sha256 != manifest.rows_hash(*rows):
        raise MertError(f"{path}: hash of the manifest's rows {list(rows)} differs: {STALE}")
