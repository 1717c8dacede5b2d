"""`mert features`: hidden states of audio files, one array per file."""

import argparse
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from mert_fairseq.data.file_state import FileState, file_state
from mert_fairseq.data.scan import find_files
from mert_fairseq.errors import MertError
from mert_fairseq.export.audio_pieces import AudioSegment
from mert_fairseq.export.encoder import PRECISIONS, load_model
from mert_fairseq.export.extraction import FeatureSettings, extract_all
from mert_fairseq.export.feature_files import FORMATS, FeatureFolder, FeatureKind
from mert_fairseq.export.pooling import POOLS


def add_parser(subparsers) -> None:
    """Adds `features MODEL AUDIO... --out DIR`."""
    parser = subparsers.add_parser(
        "features",
        help="hidden states of audio files",
        description="Writes DIR/NAME.npy for every audio file: float32, layers x D (mean over the file), layers x windows x D or layers x "
        "frames x D, 75 frames per second. Layer 0 is the transformer's input. What is complete is not made again.",
    )
    parser.add_argument("model", metavar="MODEL", help="checkpoint (.pt) or Hugging Face folder")
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="audio files, or folders of them")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the arrays; made if missing")
    parser.add_argument("--layer", type=int, help="this one alone, 0 to the number of layers (default: all)")
    parser.add_argument("--pool", choices=POOLS, default="mean", help="what becomes of the frames (default: %(default)s)")
    parser.add_argument("--window", type=float, default=30.0, metavar="S", help="seconds heard at a time (default: %(default)g)")
    parser.add_argument("--format", choices=FORMATS, default="npy", help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, metavar="N", help="windows computed together (default: 8 on a GPU, else 1)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of matrix products (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Makes what is not there yet; exit code 1 if a file could not be read, after all others are done."""
    files = find_audio(args.audio)
    model = load_model(args.model, args.device, args.precision)
    batch = args.batch if args.batch is not None else (1 if model.device.type == "cpu" else 8)
    settings = FeatureSettings(args.layer, args.pool, args.window, batch)
    settings.check(model)
    kind = FeatureKind(model.name, model.weights_hash, args.layer, args.pool, args.window, args.precision, args.format)
    folder = FeatureFolder(Path(args.out), kind)
    names = folder.missing(files)
    try:
        failed = _extract(model, files, names, settings, folder)
    except OSError as error:
        raise MertError(f"{args.out}: cannot be written ({error.strerror}); make room and give the same command to go on") from None
    print(f"{args.out}: {len(files)} files, {len(files) - len(names)} were there, {len(names) - failed} made, {failed} failed")
    return 1 if failed else 0


def find_audio(given: Sequence[str]) -> Dict[str, Path]:
    """Name in the output -> file: a file's own name, or its path below the folder that was given.

    Raises:
        MertError: nothing found, a folder that cannot be entered, or two files of one name.
    """
    files: Dict[str, Path] = {}
    for place in map(Path, given):
        names, closed = find_files(place) if place.is_dir() else ([place.name], [])
        if not place.exists():
            raise MertError(f"{place}: no such file or folder")
        if closed:
            raise MertError(f"{place / closed[0].relative_path}: {closed[0].reason} ({closed[0].detail})")
        if not names:
            raise MertError(f"{place}: no audio file in it")
        for name in names:
            path = place / name if place.is_dir() else place
            if files.setdefault(name, path) != path:
                raise MertError(f"{path} and {files[name]} would both become {name}; give the folder above them, or another --out for one")
    return files


def _extract(model, files: Dict[str, Path], names: List[str], settings: FeatureSettings, folder: FeatureFolder) -> int:
    """Number of files that failed; each is named."""
    failed = 0
    states: Dict[str, FileState] = {}

    def heard() -> Iterator[AudioSegment]:
        """Each file, whose state is noted before it is read."""
        for name in names:
            states[name] = file_state(files[name])
            yield AudioSegment(files[name], 0, None, states[name])

    def allocate(index: int, shape: Tuple[int, ...]) -> np.ndarray:
        return folder.allocate(names[index], shape)

    with tqdm(total=len(names), desc="features", unit="file", disable=not sys.stderr.isatty()) as bar:
        for index, found in extract_all(model, heard(), settings, allocate):
            if isinstance(found, MertError):
                tqdm.write(f"mert: {found}", file=sys.stderr)
                folder.give_up(names[index])
                failed += 1
            else:
                folder.finish(names[index], found, states.pop(names[index]))
            bar.update()
    return failed
