"""`mert report`: what a run learned, as a table and a picture."""

import argparse
from pathlib import Path

from mert_fairseq.report.learning import read_report, table
from mert_fairseq.report.learning_curves import draw


def add_parser(subparsers) -> None:
    """Adds `report RUN_DIR`."""
    parser = subparsers.add_parser("report", help="what a run learned, against its baselines")
    parser.add_argument("run_dir", metavar="RUN_DIR", help="run folder of fairseq-hydra-train")
    parser.add_argument("--picture", help="where the picture goes (default RUN_DIR/learning_curves.png)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the table and writes the picture."""
    report = read_report(Path(args.run_dir))
    picture = Path(args.picture or Path(args.run_dir) / "learning_curves.png")
    print(table(report))
    draw(report, picture)
    checkpoint = Path(args.run_dir) / "checkpoints" / "checkpoint_last.pt"
    print(f"checkpoint: {checkpoint if checkpoint.is_file() else 'none yet'}\npicture: {picture}")
    return 0
