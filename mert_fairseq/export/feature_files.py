"""The folder of features: one file per audio file, filled on disk, and what they were made with.

    DIR/features.json                 version, model, weights, layer, pool, window, precision
    DIR/sources.jsonl                 [name, bytes, time, CRC-32 of what was made] of each audio file that was heard
    DIR/album/song.flac.npy           float32; or .safetensors with one tensor, "features"

A file under its own name is complete; one that is being filled has a temporary name.
"""

import io
import json
import logging
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from safetensors import SafetensorError, safe_open

from mert_fairseq.data.array_files import map_array
from mert_fairseq.data.file_state import FileState, file_state
from mert_fairseq.data.part_files import part_path, put_in_place, remove_abandoned, write_whole
from mert_fairseq.errors import MertError
from mert_fairseq.json_text import parse_json

logger = logging.getLogger(__name__)

FORMATS = ("npy", "safetensors")
INDEX, SOURCES = "features.json", "sources.jsonl"
VERSION = 1


@dataclass(frozen=True)
class FeatureKind:
    """What decides the numbers in a folder of features."""

    model: str
    weights_sha256: str
    layer: Optional[int]
    pool: str
    window_s: float
    precision: str
    format: str


class FeatureFolder:
    """Makes the folder, or goes on in one of the same kind.

    Raises:
        MertError: the folder holds features of another kind, or cannot be written.
    """

    def __init__(self, folder: Path, kind: FeatureKind):
        self.folder, self.kind = folder, kind
        index, content = folder / INDEX, {"version": VERSION, **asdict(kind)}
        try:
            begun = index.exists()
            found = parse_json(index.read_text(encoding="utf-8")) if begun else None
        except (OSError, ValueError) as error:
            raise MertError(f"{index}: cannot be read ({error}); give another folder with --out") from None
        if not begun:
            _make_folder(folder)
            write_whole(index, (json.dumps(content, indent=2) + "\n").encode(), "give another folder with --out")
        else:
            self._check_kind(found, content)
            remove_abandoned(folder, f"**/.*.{kind.format}.*.part")

    def _check_kind(self, found: Any, content: Dict[str, Any]) -> None:
        if not isinstance(found, dict) or {**found, "model": self.kind.model} != content:  # a model may be moved
            before = found if isinstance(found, dict) else {}
            changed = ", ".join(f"{key} {before.get(key)} -> {now}" for key, now in content.items() if before.get(key) != now)
            raise MertError(f"{self.folder}: holds features made in another way ({changed}); give another folder with --out")

    def missing(self, files: Dict[str, Path]) -> List[str]:
        """Names whose features are not there.

        Raises:
            MertError: there are features of another audio file of a name, or of an earlier state of it.
        """
        made = self._sources()
        found = [name for name in files if name in made]
        with ThreadPoolExecutor() as pool:  # reading and summing leave Python's lock to the others
            there = [name for name, whole in zip(found, pool.map(lambda name: self._whole(name, made[name][2:]), found)) if whole]
        older = sum(len(made[name]) == 2 for name in there)
        if older:
            logger.warning(f"{self.folder}: {older} features are of an older version, without checksums; a new --out has them for all")
        changed = [name for name in there if made[name][:2] != list(file_state(files[name]))]
        if changed:
            mend = f"give another folder with --out, or remove {self.path(changed[0])}"
            raise MertError(f"{files[changed[0]]}: {self.folder} holds features of another file of that name or state; {mend}")
        return [name for name in files if name not in set(there)]

    def _whole(self, name: str, sums: List[int]) -> bool:
        """Whether features are there as they were written; others get made again. `sums` is empty where an older version wrote them."""
        path = self.path(name)
        try:
            if not self._is_array(path):
                return False
            if sums and sums[0] != _checksum(path):
                raise ValueError("its bytes changed since it was written")
            return True
        except FileNotFoundError:
            return False
        except (OSError, ValueError, SafetensorError) as error:
            logger.warning(f"{path}: damaged ({error}); made again")
            return False

    def _is_array(self, path: Path) -> bool:
        if self.kind.format == "safetensors":
            with safe_open(path, "np") as tensors:
                return list(tensors.keys()) == ["features"]
        array = map_array(path)
        return array.dtype == np.float32 and array.offset + array.nbytes == path.stat().st_size

    def _sources(self) -> Dict[str, List[int]]:
        """Size and time of each audio file, as it was heard, and the checksum of its features, which older versions did not note."""
        path = self.folder / SOURCES
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, ValueError) as error:
            raise MertError(f"{path}: cannot be read ({error}); remove it, and the same command makes the features again") from None
        found = {}
        for line in lines:
            try:
                name, *state = parse_json(line)
                found[str(name)] = state
            except (ValueError, TypeError):  # cut off with its writer
                continue
        return found

    def path(self, name: str) -> Path:
        """Of the features of the audio file `name`, relative to its root."""
        return self.folder / f"{name}.{self.kind.format}"

    def allocate(self, name: str, shape: Tuple[int, ...]) -> np.ndarray:
        """A float32 array on disk, its space taken at once: a disk that is full says so here. Raises OSError."""
        part = part_path(self.path(name))
        _make_folder(part.parent)
        header = _safetensors_header(shape) if self.kind.format == "safetensors" else _npy_header(shape)
        try:
            with open(part, "wb") as file:
                file.write(header)
                file.flush()
                os.posix_fallocate(file.fileno(), len(header), 4 * int(np.prod(shape)))
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return np.memmap(part, dtype="<f4", mode="r+", offset=len(header), shape=shape)

    def finish(self, name: str, array: np.ndarray, heard: FileState) -> None:
        """Gives a filled array its own name, and notes what was heard: the audio file's state before its first sample was read."""
        array.flush()
        checksum = _checksum(part_path(self.path(name)))
        put_in_place(self.path(name))
        with open(self.folder / SOURCES, "a", encoding="utf-8") as file:
            file.write(json.dumps([name, *heard, checksum]) + "\n")

    def give_up(self, name: str) -> None:
        """Removes what was begun of a file."""
        part_path(self.path(name)).unlink(missing_ok=True)


def _checksum(path: Path) -> int:
    """CRC-32 of a file."""
    found = 0
    with open(path, "rb") as file:
        while text := file.read(1 << 20):
            found = zlib.crc32(text, found)
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MertError(f"{folder}: cannot be made ({error.strerror}); give another folder with --out") from None


def _npy_header(shape: Tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _safetensors_header(shape: Tuple[int, ...]) -> bytes:
    """As the format's description has it: length, then JSON, padded to eight bytes; the library writes no file piece by piece."""
    tensors: Dict[str, Dict] = {"features": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * int(np.prod(shape))]}}
    text = json.dumps(tensors).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
