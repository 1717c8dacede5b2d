"""`mert labels import`: codes that another program made, into the target store."""

import argparse
from pathlib import Path
from typing import Dict, Union

from mert_fairseq.cli import split_shards
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.target_store import store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE, SAMPLE_RATE
from mert_fairseq.teachers.label_arrays import FolderLabels
from mert_fairseq.teachers.label_files import NUM_CLASSES, LabelFiles
from mert_fairseq.teachers.label_import import Imported, import_labels

DESCRIPTION = """Each of --labels is one codebook: SOURCE_DIR/{split}.{label}, text with one line of codes per row of the manifest
(HuBERT's train.km, the published train.encodec_0 to train.encodec_7), or SOURCE_DIR/{split}.{label}.npy, the rows' codes
in one flat array. With --npy-dir, SOURCE_DIR holds one array [frames, codebooks] or [codebooks, frames] per audio file."""


def add_parser(kinds) -> None:
    """Adds `import` to the kinds of `mert labels`."""
    parser = kinds.add_parser("import", help="codes of another program: HuBERT's text labels, numpy arrays", description=DESCRIPTION)
    parser.add_argument("manifest_dir", metavar="MANIFEST_DIR", help="folder of train.tsv and valid.tsv, the labels' own manifests")
    parser.add_argument("source_dir", metavar="SOURCE_DIR", help="folder of the labels")
    parser.add_argument("label_dir", metavar="LABEL_DIR", help="targets go to LABEL_DIR/{split}.{name}/")
    parser.add_argument("--name", required=True, help="name of the store")
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument("--labels", nargs="+", help="files {split}.{label} to lay side by side, e.g. encodec_0 encodec_1, or km")
    sources.add_argument("--npy-dir", action="store_true", help="SOURCE_DIR has one .npy per audio file, at the audio's relative path")
    split_shards.add_arguments(parser, "rows without codes")
    many = f"entries of the codebooks: one number, or one each (default: as the dictionary says, else {NUM_CLASSES})"
    parser.add_argument("--num-classes", type=int, nargs="+", metavar="V", help=many)
    parser.add_argument("--label-rate", type=float, default=float(FRAME_RATE), help=f"frames per second (default {FRAME_RATE})")
    parser.add_argument("--dict-dir", help="folder of dict.{label}.txt (default: those in SOURCE_DIR, if there are any)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the shards asked for; complete ones are skipped, so the same command goes on where it stopped."""
    split_shards.check_arguments(args)
    if not 0 < args.label_rate <= SAMPLE_RATE:
        raise MertError(f"--label-rate {args.label_rate:g}: need 0 < label-rate <= {SAMPLE_RATE}")
    if args.npy_dir and args.dict_dir:
        raise MertError("--dict-dir: arrays hold codes, not symbols; leave it out with --npy-dir")
    manifests = split_shards.read_manifests(args)
    # All sources are looked at before the first split's work, which may take hours.
    sources = {split: _source(args, split, manifest) for split, manifest in manifests.items()}
    split_shards.do_splits(manifests, lambda split, manifest: _import_split(args, split, manifest, sources[split]))
    return 0


def _source(args: argparse.Namespace, split: str, manifest: Manifest) -> Union[LabelFiles, FolderLabels]:
    source_dir = Path(args.source_dir)
    if not source_dir.is_dir():
        raise MertError(f"{source_dir}: no such folder of labels; check SOURCE_DIR")
    if args.npy_dir:
        return FolderLabels(source_dir, manifest, args.num_classes or [NUM_CLASSES], args.label_rate)
    sizes = args.num_classes or [None]
    return LabelFiles(source_dir, split, args.labels, manifest, sizes, args.dict_dir, args.label_rate, args.nshard)


def _import_split(args: argparse.Namespace, split: str, manifest: Manifest, source) -> None:
    folder, shards = store_folder(args.label_dir, split, args.name), split_shards.shards_of(args)
    with split_shards.progress(manifest, args, f"{split}.{args.name}") as bar:
        done = import_labels(
            manifest,
            folder,
            source,
            args.label_rate,
            args.nshard,
            shards,
            args.allow_bad,
            lambda samples: bar.update(samples / SAMPLE_RATE),
        )
    entries = "/".join(str(size) for size in sorted(set(source.num_classes)))
    made = f"{done.written} shards written, {len(shards) - done.written} were there"
    print(f"{folder}: {made}; {source.width} wide of {entries} entries, {manifest.hours:.2f} h{_remarks(done, args.label_rate)}")


def _remarks(done: Imported, label_rate: float) -> str:
    remarks: Dict[str, bool] = {
        f"{done.num_bad} rows without codes": bool(done.num_bad),
        f"{done.num_short} rows one frame short, their last frame repeated": bool(done.num_short),
        f"{label_rate:g} frames per second where training takes {FRAME_RATE}": label_rate != FRAME_RATE,
    }
    return "".join(f"; {remark}" for remark, holds in remarks.items() if holds)
