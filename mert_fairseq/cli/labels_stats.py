"""`mert labels stats`: what the stores hold, as a table and a picture."""

import argparse
import sys
from pathlib import Path
from typing import List

from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.target_store import TargetStore, stores_in
from mert_fairseq.errors import MertError
from mert_fairseq.report.canvas import NoMatplotlib
from mert_fairseq.report.label_picture import draw
from mert_fairseq.report.label_stats import StoreStats, store_stats
from mert_fairseq.report.label_table import table


def add_parser(kinds) -> None:
    """Adds `stats` to the kinds of `mert labels`."""
    parser = kinds.add_parser("stats", help="how the entries of each codebook are used, sizes, spectra; a table and a picture")
    parser.add_argument("label_dir", metavar="LABEL_DIR", help="folder of the stores")
    parser.add_argument(
        "manifest_dir", metavar="MANIFEST_DIR", nargs="?", help="folder of the manifests, to check that the stores are theirs"
    )
    parser.add_argument("--sample-hours", type=float, metavar="H", help="hours of each store to read, spread over it (default: all)")
    parser.add_argument("--picture", help="where the picture goes (default LABEL_DIR/stats.png)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the tables, then writes the picture; without matplotlib a line says so."""
    if args.sample_hours is not None and not args.sample_hours > 0:
        raise MertError(f"--sample-hours {args.sample_hours:g}: need more than 0")
    label_dir = Path(args.label_dir)
    stores: List[StoreStats] = []
    for folder in stores_in(args.label_dir):
        stats = store_stats(folder, args.sample_hours)
        if args.manifest_dir is not None:
            manifest = read_manifest(Path(args.manifest_dir) / f"{stats.split}.tsv")
            TargetStore(folder, manifest, stats.info.kind, stats.info.frame_rate)
        print(table(stats))
        stores.append(stats)
    picture = Path(args.picture or label_dir / "stats.png")
    try:
        draw(stores, picture)
        print(f"picture: {picture}")
    except NoMatplotlib as error:
        print(f"mert: {error}", file=sys.stderr)
    return 0
