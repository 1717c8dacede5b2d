"""The folder of features: one file per audio file, filled on disk, and what they were made with.

    DIR/features.json                 version, model, weights, layer, pool, window, precision
    DIR/sources.jsonl                 [name, bytes, time] of each audio file that was heard
    DIR/album/song.flac.npy           float32; or .safetensors with one tensor, "features"

A file under its own name is complete; one that is being filled has a temporary name.
"""

import io
import json
import os
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from mert_fairseq.data.part_files import part_path, put_in_place, remove_abandoned, write_whole
from mert_fairseq.errors import MertError

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
            found = json.loads(index.read_text(encoding="utf-8")) if index.exists() else None
        except (OSError, ValueError) as error:
            raise MertError(f"{index}: cannot be read ({error}); give another folder with --out") from None
        if found is None:
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
        there = [name for name in files if self.path(name).exists() and name in made]
        changed = [name for name in there if made[name] != _source(files[name])]
        if changed:
            mend = f"give another folder with --out, or remove {self.path(changed[0])}"
            raise MertError(f"{files[changed[0]]}: {self.folder} holds features of another file of that name or state; {mend}")
        return [name for name in files if name not in set(there)]

    def _sources(self) -> Dict[str, List[int]]:
        """Size and time of each audio file, as it was heard."""
        path = self.folder / SOURCES
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = {}
        for line in lines:
            try:
                name, *state = json.loads(line)
            except ValueError:  # cut off with its writer
                continue
            found[name] = state
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

    def finish(self, name: str, array: np.ndarray, source: Path) -> None:
        """Gives a filled array its own name, and notes what was heard."""
        array.flush()
        put_in_place(self.path(name))
        with open(self.folder / SOURCES, "a", encoding="utf-8") as file:
            file.write(json.dumps([name, *_source(source)]) + "\n")

    def give_up(self, name: str) -> None:
        """Removes what was begun of a file."""
        part_path(self.path(name)).unlink(missing_ok=True)


def _source(path: Path) -> List[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


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
