"""What every command that writes shards shares: its arguments, their checks, the manifests of the splits, and the bar."""

import argparse
import sys
from pathlib import Path
from typing import Callable, Dict, List, Sequence

from tqdm import tqdm

from mert_fairseq.data.manifest import Manifest, read_manifest
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.teachers.shard_dump import DamagedFiles


def add_arguments(parser: argparse.ArgumentParser, bad_rows: str) -> None:
    """Adds --splits, --nshard, --shard and --allow-bad; `bad_rows` says what the last one counts."""
    parser.add_argument("--splits", nargs="+", default=["train", "valid"], help="manifests to do (default train valid)")
    parser.add_argument("--nshard", type=int, default=1, help="shards of each split (default 1)")
    parser.add_argument("--shard", type=int, help="do this shard only, 0 to nshard - 1 (default: all in turn)")
    parser.add_argument("--allow-bad", type=int, default=0, metavar="N", help=f"{bad_rows} that may become empty rows (default 0)")


def check_arguments(args: argparse.Namespace) -> None:
    """Refuses numbers that cannot be."""
    if args.nshard < 1 or (args.shard is not None and not 0 <= args.shard < args.nshard):
        raise MertError(f"--shard {args.shard} --nshard {args.nshard}: need nshard >= 1 and 0 <= shard < nshard")
    if args.allow_bad < 0:
        raise MertError(f"--allow-bad {args.allow_bad}: need allow-bad >= 0")


def shards_of(args: argparse.Namespace) -> Sequence[int]:
    """Numbers of the shards to do."""
    return range(args.nshard) if args.shard is None else [args.shard]


def read_manifests(args: argparse.Namespace) -> Dict[str, Manifest]:
    """The manifest of every split; all are read before the first split's work, which may take hours."""
    manifests = {split: read_manifest(Path(args.manifest_dir) / f"{split}.tsv") for split in args.splits}
    for split, manifest in manifests.items():
        if args.nshard > len(manifest):
            raise MertError(f"--nshard {args.nshard}: {split}.tsv has {len(manifest)} rows; give fewer shards, or --splits")
    return manifests


def do_splits(manifests: Dict[str, Manifest], dump: Callable[[str, Manifest], None]) -> None:
    """Calls `dump` for every split; damaged files of one are said at the end, after the other splits."""
    damaged: List[str] = []
    for split, manifest in manifests.items():
        try:
            dump(split, manifest)
        except DamagedFiles as error:
            damaged.append(f"{split}: {error}")
    if damaged:
        raise DamagedFiles("; ".join(damaged))


def progress(manifest: Manifest, args: argparse.Namespace, title: str) -> tqdm:
    """Counts seconds of audio; quiet when nobody watches."""
    seconds = manifest.num_samples.sum() / SAMPLE_RATE * len(shards_of(args)) / args.nshard
    return tqdm(total=round(float(seconds)), desc=title, unit="s audio", disable=not sys.stderr.isatty())
