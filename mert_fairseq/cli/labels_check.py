"""`mert labels check`: verify every shard of all stores, and make broken ones again."""

import argparse
import sys
from pathlib import Path
from typing import List

from tqdm import tqdm

from mert_fairseq.data.manifest import Manifest, read_manifest
from mert_fairseq.data.target_store import stores_in
from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE
from mert_fairseq.teachers.store_check import StoreCheck, check_store, repair_store

SHOWN = 20  # faults in the last line


def add_parser(kinds) -> None:
    """Adds `check` to the kinds of `mert labels`."""
    parser = kinds.add_parser("check", help="verify every shard against manifest and hashes; --repair makes broken ones again")
    parser.add_argument("manifest_dir", metavar="MANIFEST_DIR", help="folder of train.tsv and valid.tsv")
    parser.add_argument("label_dir", metavar="LABEL_DIR", help="folder of the stores")
    parser.add_argument("--workers", type=int, help="shards read at once (default: all cores)")
    parser.add_argument("--repair", action="store_true", help="delete the broken shards and make them again, and nothing else")
    parser.add_argument("--allow-bad", type=int, default=0, metavar="N", help="damaged files that may become empty rows (default 0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints one line per store; exit code 1 if anything is wrong and was not repaired."""
    if args.allow_bad < 0 or (args.workers is not None and args.workers < 1):
        raise MertError(f"--allow-bad {args.allow_bad} --workers {args.workers}: need allow-bad >= 0 and workers >= 1")
    faults: List[str] = []
    stores = [(folder, read_manifest(Path(args.manifest_dir) / f"{folder.name.split('.')[0]}.tsv")) for folder in stores_in(args.label_dir)]
    print(f"{'store':24} {'holds':24} {'shards':>8} {'broken':>8} {'empty rows':>12} {'hours':>12}")
    for folder, manifest in stores:
        found = _check(folder, manifest, args)
        if found.faults and args.repair and found.shards:
            for fault in found.faults:
                print(f"  {fault}")
            try:
                written = repair_store(folder, manifest, found, args.allow_bad)
            except MertError as error:  # the other stores are looked at all the same
                faults.append(str(error))
                continue
            print(f"  {written} shards made again")
            found = _check(folder, manifest, args)
        faults += found.faults
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise MertError(f"{len(faults)} faults: " + "; ".join(faults[:SHOWN]) + more)
    return 0


def _check(folder: Path, manifest: Manifest, args: argparse.Namespace) -> StoreCheck:
    """Checks one store, with a bar at a terminal, and prints its line."""
    with tqdm(desc=folder.name, unit="shard", leave=False, disable=not sys.stderr.isatty()) as bar:
        found = check_store(folder, manifest, args.workers, bar.update)
    hours = found.frames / FRAME_RATE / 3600
    print(f"{folder.name:24} {found.kind:24} {len(found.shards):8} {len(found.faults):8} {found.empty_rows:12} {hours:12.2f}")
    return found
