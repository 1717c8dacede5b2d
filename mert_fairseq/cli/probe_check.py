"""`mert probe check TASK --data DIR`: whether a dataset is complete, before hours are spent on it."""

import argparse
import functools
import sys

from mert_fairseq.cli.probe_data import add_data, given_options, tasks_named
from mert_fairseq.cli.progress_bars import Bars
from mert_fairseq.errors import MertError
from mert_fairseq.probe.data_check import check
from mert_fairseq.probe.registry import TASKS


def add_parser(kinds) -> None:
    """Adds `check TASK ...`."""
    parser = kinds.add_parser("check", help="whether a dataset is complete")
    parser.add_argument("tasks", metavar="TASK", nargs="+", help=f"one of {', '.join(TASKS)}, or all")
    add_data(parser)
    parser.add_argument("--quick", action="store_true", help="read headers and float samples alone, no other damage (default: decode all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """What is there, and what keeps a probe from being run; exit code 1 if something does."""
    if args.data is None:
        raise MertError("mert probe check: no data given; mert probe check TASK --data DIR")
    tasks, bad = tasks_named(args.tasks), False
    for task, options in zip(tasks, given_options(args.option, tasks).values()):
        with Bars() as bars:
            show = functools.partial(bars.show, "files checked")
            report = check(task, args.data, options, args.any_counts, progress=show, decode=not args.quick)
        for line in (*report.lines, *(f"warning: {warning}" for warning in report.warnings)):
            print(f"{task.name}: {line}")
        for problem in report.problems:
            print(f"mert: {problem}", file=sys.stderr)
        bad |= bool(report.problems)
    return int(bad)
