"""`mert report`: what a run learned and how it went, as a table, a picture and a page; of several runs, beside each other."""

import argparse
import sys
from pathlib import Path
from typing import List

from mert_fairseq.errors import MertError
from mert_fairseq.report.canvas import write_png
from mert_fairseq.report.comparison import final_figures, names_of
from mert_fairseq.report.comparison_page import write_comparison_page
from mert_fairseq.report.learning import table
from mert_fairseq.report.learning_curves import draw
from mert_fairseq.report.page_file import PageFile
from mert_fairseq.report.run import Run, read_run
from mert_fairseq.report.run_page import write_run_page


def add_parser(subparsers) -> None:
    """Adds `report RUN_DIR [RUN_DIR ...]`."""
    parser = subparsers.add_parser("report", help="what runs learned against their baselines, and how they went: a table and a page")
    parser.add_argument("run_dirs", metavar="RUN_DIR", nargs="+", help="run folder of fairseq-hydra-train; several are compared")
    parser.add_argument("--picture", help="where the picture of one run goes (default: learning_curves.png beside the page)")
    parser.add_argument("--page", help="where the page goes (default RUN_DIR/report.html; of several runs ./comparison.html)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the table and writes picture and page."""
    if len(args.run_dirs) == 1:
        return _report(read_run(Path(args.run_dirs[0])), args)
    if args.picture:
        raise MertError(f"--picture {args.picture}: is of one run; of several the page's pictures lie beside it (--page)")
    return _compare([read_run(Path(run_dir)) for run_dir in args.run_dirs], PageFile(Path(args.page or "comparison.html")))


def _report(run: Run, args: argparse.Namespace) -> int:
    beside = Path(args.page).parent if args.page else run.run_dir
    picture, curves = Path(args.picture or beside / "learning_curves.png"), None
    if run.learning is None:
        print(f"mert: no table and no {picture.name}, the page has the curves: {run.without}", file=sys.stderr)
    else:
        print(table(run.learning))
        curves = draw(run.learning)
        write_png(curves, picture, "--picture")
    file = PageFile(Path(args.page or run.run_dir / "report.html"))
    write_run_page(run, file, curves)
    checkpoint = run.run_dir / "checkpoints" / "checkpoint_last.pt"
    print(f"checkpoint: {checkpoint if checkpoint.is_file() else 'none yet'}")
    if run.learning is not None:
        print(f"picture: {picture}")
    print(f"page: {file.path}")
    return 0


def _compare(runs: List[Run], file: PageFile) -> int:
    names = names_of(runs)
    figures = final_figures(runs)
    width = max(map(len, figures))
    columns = [max(map(len, [name, *(values[number] for values in figures.values())])) for number, name in enumerate(names)]
    for key, values in {"": names, **figures}.items():
        print(key.ljust(width), *(value.rjust(column) for value, column in zip(values, columns)), sep="  ")
    for run in runs:
        if run.learning is None:
            print(f"mert: {run.name} has no baselines: {run.without}", file=sys.stderr)
    write_comparison_page(runs, file)
    print(f"page: {file.path}")
    return 0
