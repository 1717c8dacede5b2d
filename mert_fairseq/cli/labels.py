"""`mert labels`: run a teacher over a manifest and store its targets."""

import argparse
from typing import Optional

import torch

from mert_fairseq.allocator import keep_freed_memory
from mert_fairseq.cli import cluster, labels_check, labels_import, labels_stats, split_shards
from mert_fairseq.cli.shard_run import run_shards
from mert_fairseq.data.manifest import Manifest
from mert_fairseq.data.target_store import store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.teachers.labeller import Labeller, cluster_labeller, cqt_labeller, encodec_labeller
from mert_fairseq.teachers.labelling import write_labels


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
    split_shards.add_arguments(parser, "damaged files")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    cluster.add_arguments(parser)
    return parser


def run_dump(args: argparse.Namespace) -> int:
    """Writes the shards asked for; complete ones are skipped, so the same command goes on where it stopped."""
    split_shards.check_arguments(args)
    if args.threads is not None:
        if args.threads < 1:
            raise MertError(f"--threads {args.threads}: need threads >= 1")
        torch.set_num_threads(args.threads)
    shards, manifests, settings = split_shards.shards_of(args), split_shards.read_manifests(args), cluster.settings_of(args)
    if settings is not None:
        run_shards(cluster.shard_command(args.argv), shards, settings)
        print(f"{args.label_dir}: {len(shards)} shards complete; logs in {settings.job_logs}")
        return 0
    keep_freed_memory()
    labeller = args.labeller(args)
    split_shards.do_splits(manifests, lambda split, manifest: _dump_split(args, split, manifest, labeller))
    return 0


def _dump_split(args: argparse.Namespace, split: str, manifest: Manifest, labeller: Labeller) -> None:
    name = args.name or (args.kind if args.kind in ("encodec", "cqt") else labeller.teacher)
    folder, shards = store_folder(args.label_dir, split, name), split_shards.shards_of(args)
    with split_shards.progress(manifest, args, f"{split}.{name}") as bar:
        written = write_labels(
            manifest, folder, labeller, args.nshard, shards, args.allow_bad, lambda samples: bar.update(samples / SAMPLE_RATE)
        )
    there = len(shards) - written
    print(f"{folder}: {written} shards written, {there} were there; {labeller.width} wide, {manifest.hours:.2f} h")
