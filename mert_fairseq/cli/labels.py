"""`mert labels`: run a teacher over a manifest and store its targets."""

import argparse
import sys
from pathlib import Path
from typing import Dict, Optional, Sequence

import torch
from tqdm import tqdm

from mert_fairseq.allocator import keep_freed_memory
from mert_fairseq.cli import cluster, labels_check, labels_import, labels_stats
from mert_fairseq.cli.shard_run import run_shards
from mert_fairseq.data.manifest import Manifest, read_manifest
from mert_fairseq.data.target_store import store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.teachers.labeller import Labeller, cluster_labeller, cqt_labeller, encodec_labeller
from mert_fairseq.teachers.labelling import DamagedFiles, write_labels


def add_parser(subparsers) -> None:
    """Adds `labels encodec | kmeans | melrvq | cqt | import | check | stats`."""
    parser = subparsers.add_parser("labels", help="run teachers over a manifest and store their targets; check a store, or import one")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_encodec(kinds)
    _add_clusters(kinds, "kmeans", "clusters of log-mel, chroma or MFCC frames")
    _add_clusters(kinds, "melrvq", "residual clusters of log-mel frames, 8 codebooks")
    cqt = _add_kind(kinds, "cqt", "constant-Q magnitudes of whole tracks")
    cqt.add_argument("--dtype", default="float16", choices=("float16", "uint8"), help="uint8: half the space (default float16)")
    cqt.set_defaults(run=run_dump, labeller=lambda args: cqt_labeller(args.dtype))
    labels_import.add_parser(kinds)
    labels_check.add_parser(kinds)
    labels_stats.add_parser(kinds)


def _add_encodec(kinds) -> None:
    encodec = _add_kind(kinds, "encodec", "codes of an RVQ-VAE: EnCodec's published weights, or one of `mert teacher fit rvqvae`")
    encodec.add_argument("--weights", help="folder of the teacher (default: EnCodec's weights in the torch hub cache)")
    encodec.add_argument("--bandwidth", type=float, help="kbps of the published weights: 1.5, 3, 6, 12, 24 (default 6: 8 codebooks)")
    encodec.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default cpu)")
    encodec.add_argument("--precision", default="float32", choices=("float32", "bfloat16"), help="of the network (default float32)")
    encodec.set_defaults(
        run=run_dump, labeller=lambda args: encodec_labeller(args.weights, args.bandwidth, args.precision, args.device)
    )


def _add_clusters(kinds, kind: str, what: str) -> None:
    parser = _add_kind(kinds, kind, f"{what}, of `mert teacher fit {kind}`", "as the teacher: logmel_kmeans, chroma_kmeans, melrvq")
    parser.add_argument("--weights", required=True, help="folder of the teacher")
    parser.set_defaults(run=run_dump, labeller=lambda args: cluster_labeller(args.kind, args.weights))


def _add_kind(kinds, name: str, help_text: str, default_name: Optional[str] = None) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=help_text)
    parser.add_argument("manifest_dir", metavar="MANIFEST_DIR", help="folder of train.tsv and valid.tsv")
    parser.add_argument("label_dir", metavar="LABEL_DIR", help="targets go to LABEL_DIR/{split}.{name}/")
    parser.add_argument("--name", help=f"name of the store (default {default_name or name})")
    parser.add_argument("--splits", nargs="+", default=["train", "valid"], help="manifests to do (default train valid)")
    parser.add_argument("--nshard", type=int, default=1, help="shards of each split (default 1)")
    parser.add_argument("--shard", type=int, help="do this shard only, 0 to nshard - 1 (default: all in turn)")
    parser.add_argument("--allow-bad", type=int, default=0, metavar="N", help="damaged files that may become empty rows (default 0)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    cluster.add_arguments(parser)
    return parser


def run_dump(args: argparse.Namespace) -> int:
    """Writes the shards asked for; complete ones are skipped, so the same command goes on where it stopped."""
    _check_arguments(args)
    shards = range(args.nshard) if args.shard is None else [args.shard]
    manifests, settings = _manifests(args), cluster.settings_of(args)
    if settings is not None:
        run_shards(cluster.shard_command(args.argv), shards, settings)
        print(f"{args.label_dir}: {len(shards)} shards complete; logs in {settings.job_logs}")
        return 0
    keep_freed_memory()
    labeller, damaged = args.labeller(args), []
    for split, manifest in manifests.items():
        try:
            _dump_split(args, split, manifest, labeller, shards)
        except DamagedFiles as error:  # said at the end, after the other splits
            damaged.append(f"{split}: {error}")
    if damaged:
        raise MertError("; ".join(damaged))
    return 0


def _check_arguments(args: argparse.Namespace) -> None:
    if args.nshard < 1 or (args.shard is not None and not 0 <= args.shard < args.nshard):
        raise MertError(f"--shard {args.shard} --nshard {args.nshard}: need nshard >= 1 and 0 <= shard < nshard")
    if args.allow_bad < 0 or (args.threads is not None and args.threads < 1):
        raise MertError(f"--allow-bad {args.allow_bad} --threads {args.threads}: need allow-bad >= 0 and threads >= 1")
    if args.threads:
        torch.set_num_threads(args.threads)


def _dump_split(args: argparse.Namespace, split: str, manifest: Manifest, labeller: Labeller, shards: Sequence[int]) -> None:
    name = args.name or (args.kind if args.kind in ("encodec", "cqt") else labeller.teacher)
    folder = store_folder(args.label_dir, split, name)
    with _progress(manifest, args.nshard, shards, f"{split}.{name}") as bar:
        written = write_labels(
            manifest, folder, labeller, args.nshard, shards, args.allow_bad, lambda samples: bar.update(samples / SAMPLE_RATE)
        )
    there = len(shards) - written
    print(f"{folder}: {written} shards written, {there} were there; {labeller.width} wide, {manifest.hours:.2f} h")


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
