"""`mert probe table` and `mert probe compare`: what probes found, beside what was published and against one another."""

import argparse
from pathlib import Path

from mert_fairseq.probe.comparison import compare, compare_with_several
from mert_fairseq.probe.table import probe_table


def add_parsers(kinds) -> None:
    """Adds `table RUNS...` and `compare RUN OTHER...`."""
    table = kinds.add_parser("table", help="the 14-task markdown table of runs, beside published models")
    table.add_argument("runs", metavar="RUN", nargs="*", type=Path, help="output folder of `mert probe`; none: published models alone")
    table.add_argument("--own", action="store_true", help="without published models")
    table.set_defaults(run=run_table)
    versus = kinds.add_parser("compare", help="differences of runs on the same test items, with their 95 %% intervals")
    versus.add_argument("one", metavar="RUN", type=Path, help="output folder of `mert probe`")
    others = "the one that it is held against; of several, seeds of random weights say, the interval is over them"
    versus.add_argument("others", metavar="OTHER", nargs="+", type=Path, help=others)
    versus.set_defaults(run=run_compare)


def run_table(args: argparse.Namespace) -> int:
    """Prints the table."""
    print(probe_table(args.runs, published=()) if args.own else probe_table(args.runs), end="")
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """Prints the differences."""
    several = len(args.others) > 1
    print(compare_with_several(args.one, args.others) if several else compare(args.one, *args.others), end="")
    return 0
