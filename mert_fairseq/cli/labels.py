"""`mert labels`: run a teacher over a manifest and store its targets; check a store."""

import argparse
import sys
from pathlib import Path
from typing import Dict

import torch
from tqdm import tqdm

from mert_fairseq.data.manifest import Manifest, read_manifest
from mert_fairseq.data.target_store import store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.teachers.labelling import Labeller, cqt_labeller, encodec_labeller, write_labels
from mert_fairseq.teachers.store_check import check_store


def add_parser(subparsers) -> None:
    """Adds `labels encodec | cqt | check`."""
    parser = subparsers.add_parser("labels", help="run teachers over a manifest and store their targets, or check a store")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    encodec = _add_kind(kinds, "encodec", "codes of an RVQ-VAE: EnCodec's published weights, or one of `mert teacher fit rvqvae`")
    encodec.add_argument("--weights", help="folder of the teacher (default: EnCodec's weights in the torch hub cache)")
    encodec.add_argument("--bandwidth", type=float, help="kbps of the published weights: 1.5, 3, 6, 12, 24 (default 6: 8 codebooks)")
    encodec.set_defaults(run=lambda args: run_dump(args, encodec_labeller(args.weights, args.bandwidth)))
    cqt = _add_kind(kinds, "cqt", "constant-Q magnitudes of whole tracks")
    cqt.set_defaults(run=lambda args: run_dump(args, cqt_labeller()))
    check = kinds.add_parser("check", help="verify every shard against manifest and hashes")
    check.add_argument("manifest_dir", metavar="MANIFEST_DIR", help="folder of train.tsv and valid.tsv")
    check.add_argument("label_dir", metavar="LABEL_DIR", help="folder of the stores")
    check.set_defaults(run=run_check)


def _add_kind(kinds, name: str, help_text: str) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=help_text)
    parser.add_argument("manifest_dir", metavar="MANIFEST_DIR", help="folder of train.tsv and valid.tsv")
    parser.add_argument("label_dir", metavar="LABEL_DIR", help="targets go to LABEL_DIR/{split}.{name}/")
    parser.add_argument("--name", default=name, help=f"name of the store (default {name})")
    parser.add_argument("--splits", nargs="+", default=["train", "valid"], help="manifests to do (default train valid)")
    parser.add_argument("--nshard", type=int, default=1, help="shards of each split (default 1)")
    parser.add_argument("--shard", type=int, help="do this shard only, 0 to nshard - 1 (default: all in turn)")
    parser.add_argument("--allow-bad", type=int, default=0, metavar="N", help="damaged files that may become empty rows (default 0)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    return parser


def run_dump(args: argparse.Namespace, labeller: Labeller) -> int:
    """Writes the shards asked for; complete ones are skipped, so the same command goes on where it stopped."""
    if args.nshard < 1 or (args.shard is not None and not 0 <= args.shard < args.nshard):
        raise MertError(f"--shard {args.shard} --nshard {args.nshard}: need nshard >= 1 and 0 <= shard < nshard")
    if args.allow_bad < 0 or (args.threads is not None and args.threads < 1):
        raise MertError(f"--allow-bad {args.allow_bad} --threads {args.threads}: need allow-bad >= 0 and threads >= 1")
    if args.threads:
        torch.set_num_threads(args.threads)
    shards = range(args.nshard) if args.shard is None else [args.shard]
    for split, manifest in _manifests(args).items():
        folder = store_folder(args.label_dir, split, args.name)
        with _progress(manifest, args.nshard, shards, f"{split}.{args.name}") as bar:
            written = write_labels(
                manifest, folder, labeller, args.nshard, shards, args.allow_bad, lambda samples: bar.update(samples / SAMPLE_RATE)
            )
        there = len(shards) - written
        print(f"{folder}: {written} shards written, {there} were there; {labeller.width} wide, {manifest.hours:.2f} h")
    return 0


def _manifests(args: argparse.Namespace) -> Dict[str, Manifest]:
    """The manifest of every split; all are read before the first split's work, which may take hours."""
    manifests = {split: read_manifest(Path(args.manifest_dir) / f"{split}.tsv") for split in args.splits}
    for split, manifest in manifests.items():
        if args.nshard > len(manifest):
            raise MertError(f"--nshard {args.nshard}: {split}.tsv has {len(manifest)} rows; give fewer shards, or --splits")
    return manifests


def _progress(manifest: Manifest, num_shards: int, shards, title: str) -> tqdm:
    """Counts seconds of audio; quiet when nobody watches."""
    seconds = manifest.num_samples.sum() / SAMPLE_RATE * len(shards) / num_shards
    return tqdm(total=round(float(seconds)), desc=title, unit="s audio", disable=not sys.stderr.isatty())


def run_check(args: argparse.Namespace) -> int:
    """Prints one line per store; exit code 1 if anything is wrong."""
    label_dir = Path(args.label_dir)
    stores = sorted(path for path in label_dir.glob("*.*") if path.is_dir()) if label_dir.is_dir() else []
    if not stores:
        raise MertError(f"{label_dir}: no stores {{split}}.{{name}} in it; make them with `mert labels encodec` or `mert labels cqt`")
    faults = []
    for folder in stores:
        manifest = read_manifest(Path(args.manifest_dir) / f"{folder.name.split('.')[0]}.tsv")
        result = check_store(folder, manifest)
        faults += result.faults
        print(f"{folder.name:24} {result.summary}")
    if faults:
        raise MertError(f"{len(faults)} faults: " + "; ".join(faults))
    return 0
