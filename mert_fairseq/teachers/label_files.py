"""Label files side by side, as HuBERT and the published MERT recipe name them: `{split}.{label}`, one file per codebook."""

import hashlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Union

import numpy as np

from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.shard import shard_rows
from mert_fairseq.errors import MertError
from mert_fairseq.teachers.label_arrays import FlatLabels, row_offsets
from mert_fairseq.teachers.label_text import Symbols, TextLabels, plain_symbols, read_dictionary

NUM_CLASSES = 1024  # entries of EnCodec's codebooks: V where neither the user nor a dictionary says
SHOWN = 5  # files listed in a refusal


class LabelFiles:
    """K label files of one split side by side: file k is codebook k.

    Args:
        source_dir: folder of `{split}.{label}` (text) or `{split}.{label}.npy` (flat array).
        labels: the K labels, e.g. encodec_0 .. encodec_7, or km.
        num_classes: V of all codebooks, or one for each; where None a dictionary's own, or 1024.
        dict_dir: folder of dict.{label}.txt, all of which must be there; None: those in `source_dir` are used if there are any.
        num_shards: shards that will be asked for.

    Raises:
        MertError: a file is missing, or does not belong to the manifest; it is named.
    """

    def __init__(
        self,
        source_dir: Path,
        split: str,
        labels: Sequence[str],
        manifest: Manifest,
        num_classes: Sequence[Optional[int]] = (None,),
        dict_dir: Optional[Path] = None,
        label_rate: float = 75.0,
        num_shards: int = 1,
    ):
        if len(num_classes) not in (1, len(labels)):
            raise MertError(f"--num-classes has {len(num_classes)} numbers, --labels {len(labels)}; give one, or one for each label")
        sizes = list(num_classes) * (len(labels) if len(num_classes) == 1 else 1)
        first_rows = [shard_rows(len(manifest), shard, num_shards)[0] for shard in range(num_shards)]
        offsets = None
        self.files: List[Union[TextLabels, FlatLabels]] = []
        hashes: Dict[str, Optional[str]] = {}
        for label, size in zip(labels, sizes):
            path = _label_file(Path(source_dir), split, label)
            dictionary = _dictionary_file(Path(source_dir), dict_dir, label)
            symbols = _symbols(dictionary, size)
            if path.suffix == ".npy":
                offsets = row_offsets(manifest, label_rate) if offsets is None else offsets
                self.files.append(FlatLabels(path, symbols.num_classes, offsets))
            else:
                self.files.append(TextLabels(path, symbols, len(manifest), first_rows))
                hashes[label] = dictionary and hashlib.sha256(dictionary.read_bytes()).hexdigest()
        self.width, self.num_classes = len(self.files), [file.num_classes for file in self.files]
        self.settings: Dict[str, Any] = {"labels": list(labels), "sources_sha256": [file.sha256 for file in self.files]}
        self.settings["dictionaries_sha256"] = hashes

    def where(self, row: int) -> str:
        """The file and line of a row."""
        return f"{self.files[0].path}: line {row + 1}"

    def rows(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Codes [T, K] uint16 of rows start .. stop - 1. MertError if the files disagree on the length of a row."""
        for row, codes in enumerate(zip(*(file.rows(start, stop) for file in self.files)), start):
            for file, column in zip(self.files, codes):
                if len(column) != len(codes[0]):
                    counts = f"{len(codes[0])} codes in {self.files[0].path}, {len(column)} in {file.path}"
                    raise MertError(f"row {row} (line {row + 1}): {counts}; the files must agree, make them again together")
            yield np.stack(codes, axis=1)


def _label_file(source_dir: Path, split: str, label: str) -> Path:
    text = source_dir / f"{split}.{label}"
    present = [path for path in (text, text.with_name(f"{text.name}.npy")) if path.is_file()]
    if len(present) == 2:
        raise MertError(f"{text} and {present[1].name} are both there; remove one of them")
    if not present:
        others = sorted(path.name for path in source_dir.glob(f"{split}.*") if path.suffix not in (".tsv", ".json"))
        found = f"{', '.join(others[:SHOWN])}{', ...' if len(others) > SHOWN else ''}" if others else f"nothing of {split}"
        raise MertError(f"{text}: no such labels, nor {text.name}.npy; found {found}; check SOURCE_DIR, --labels and --splits")
    return present[0]


def _dictionary_file(source_dir: Path, dict_dir: Optional[Path], label: str) -> Optional[Path]:
    name = f"dict.{label}.txt"
    if dict_dir is not None:
        return Path(dict_dir) / name
    return source_dir / name if (source_dir / name).is_file() else None


def _symbols(dictionary: Optional[Path], num_classes: Optional[int]) -> Symbols:
    if dictionary is not None:
        return read_dictionary(dictionary, num_classes)
    return plain_symbols(NUM_CLASSES if num_classes is None else num_classes)
