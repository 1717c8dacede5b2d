"""`mert probe`: what a frozen encoder understands of music, on 14 tasks.

    mert probe GTZAN GS --model MODEL --data DIR     scores of tasks; `all` for every one
    mert probe --list                                what each task needs
    mert probe check GTZAN --data DIR                whether a dataset is complete, before hours are spent
    mert probe table RUN...                          the 14-task table; `compare RUN OTHER` tests a difference
    mert probe toy --model MODEL                     the gate that needs no download
"""

import argparse
import functools
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from tqdm import tqdm

from mert_fairseq.cli import probe_table, probe_toy
from mert_fairseq.errors import MertError
from mert_fairseq.export.encoder import PRECISIONS
from mert_fairseq.probe.data_check import check
from mert_fairseq.probe.encoders import open_encoder, short_name
from mert_fairseq.probe.grid import RATES
from mert_fairseq.probe.listing import listing
from mert_fairseq.probe.overlap import find_overlap
from mert_fairseq.probe.probing import GridSettings
from mert_fairseq.probe.registry import TASKS, task_named
from mert_fairseq.probe.results import Results
from mert_fairseq.probe.run import ProbeSettings, run_task
from mert_fairseq.probe.task import Task

KINDS = ("tasks", "check", "table", "compare", "toy")
HELP = ("-h", "--help")


def with_kind(argv: List[str]) -> List[str]:
    """The command line with the kind that `mert probe TASK ...` leaves out."""
    if argv[:1] == ["probe"] and (len(argv) == 1 or argv[1] not in (*KINDS, *HELP)):
        return ["probe", "tasks", *argv[1:]]
    return argv


def add_parser(subparsers) -> None:
    """Adds `probe` with its kinds."""
    help_text, raw = "scores of the frozen encoder on 14 music tasks", argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser("probe", help=help_text, description=__doc__, formatter_class=raw)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_tasks(kinds.add_parser("tasks", help="scores of tasks (the word may be left out)"))
    checks = kinds.add_parser("check", help="whether a dataset is complete")
    checks.add_argument("tasks", metavar="TASK", nargs="+", help=f"one of {', '.join(TASKS)}, or all")
    _add_data(checks)
    checks.add_argument("--quick", action="store_true", help="read headers alone; damage behind them is not found (default: decode all)")
    checks.set_defaults(run=run_check)
    probe_table.add_parsers(kinds)
    probe_toy.add_parser(kinds)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="the dataset's folder, or the one that holds it under its name")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="another reading of the protocol, see --list")
    parser.add_argument("--any-counts", action="store_true", help="go on with counts that are not the published ones")


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", metavar="TASK", nargs="*", help=f"one of {', '.join(TASKS)}, or all")
    parser.add_argument("--list", action="store_true", help="licence, size, source, layout, splits and metric of every task")
    _add_data(parser)
    add_encoder(parser)
    parser.add_argument("--out", type=Path, help="folder for scores (default: probes/MODEL)")
    parser.add_argument("--layers", nargs="+", metavar="N", help="hidden states to try; all: their sum (default: it and each)")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, metavar="R", help="rates to try (default: the paper's six)")
    parser.add_argument("--pretrained-on", type=Path, metavar="MANIFEST", help="train.tsv of the model: warns of test recordings in it")
    parser.set_defaults(run=run_tasks)


def add_encoder(parser: argparse.ArgumentParser) -> None:
    """Options that say what is probed, and with how many heads."""
    parser.add_argument("--model", metavar="MODEL", help="checkpoint, Hugging Face folder, logmel, random:CONFIG, muq:FOLDER")
    parser.add_argument("--cache", type=Path, default=Path("probes/cache"), help="features of all encoders (default: %(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3), metavar="S", help="of the tested heads (default: 1 2 3)")
    parser.add_argument("--batch", type=int, metavar="N", help="windows heard together (default: 8 on a GPU, else 1)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="float32", help="of the encoder (default: %(default)s)")


def run_tasks(args: argparse.Namespace) -> int:
    """Scores of the tasks; with `all`, a task whose data is not there is said and left out. Exit code 1 if one was."""
    if args.list:
        print(listing())
        return 0
    for name in ("tasks", "model", "data"):
        if not getattr(args, name):
            raise MertError(f"mert probe: no {name} given; mert probe TASK ... --model MODEL --data DIR, or --list")
    tasks, left_out = _tasks(args.tasks), []
    options = given_options(args.option, tasks)
    encoder = open_encoder(args.model, args.device, args.precision)
    grid = GridSettings(_layers(args.layers), tuple(args.rates), tuple(args.seeds))
    batch = args.batch if args.batch is not None else (1 if encoder.device.type == "cpu" else 8)
    out = args.out or Path("probes") / short_name(args.model)
    for task in tasks:
        settings = ProbeSettings(args.data, out, args.cache, grid, options[task.name], args.any_counts, batch)
        try:
            results = _probe(task, encoder, settings, args.pretrained_on)
        except MertError as error:
            if len(tasks) == 1:
                raise
            print(f"mert: {task.name} left out: {error}", file=sys.stderr)
            left_out.append(task.name)
            continue
        print(summary(results))
    print(f"{out}: {len(tasks) - len(left_out)} of {len(tasks)} tasks; mert probe table {out}")
    return 1 if left_out else 0


def _probe(task: Task, encoder, settings: ProbeSettings, manifest: Optional[Path]) -> Results:
    if manifest is not None:
        _warn_of_overlap(task, settings, manifest)
    with Bars() as bars:
        return run_task(task, encoder, settings, lambda text: tqdm.write(text, file=sys.stderr), bars.show)


def _warn_of_overlap(task: Task, settings: ProbeSettings, manifest: Path) -> None:
    items = task.load(settings.data, settings.options).of("test")
    with Bars() as bars:
        show = functools.partial(bars.show, "recordings compared")
        report = find_overlap(manifest, items, settings.cache / "fingerprints", progress=show)
    for line in (report.warning(task.name), *(f"{task.name}: {text}" for text in report.unreadable)):
        if line:
            print(f"warning: {line}", file=sys.stderr)


def run_check(args: argparse.Namespace) -> int:
    """What is there, and what keeps a probe from being run; exit code 1 if something does."""
    if args.data is None:
        raise MertError("mert probe check: no data given; mert probe check TASK --data DIR")
    tasks, bad = _tasks(args.tasks), False
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


def summary(results: Results) -> str:
    """One line: the scores with their intervals and what was chosen."""
    scores = ", ".join(f"{name} {score.mean:.3f} ({score.low:.3f} to {score.high:.3f})" for name, score in results.scores.items())
    chosen = results.chosen or {}
    layer = {None: "all", -1: ""}.get(chosen.get("layer", -1), chosen.get("layer", ""))
    head = f"; layer {layer}, rate {chosen['rate']:g}" if chosen else ""
    return f"{results.task}: {scores}{head}, {len(results.seeds)} seeds"


def given_options(given: List[str], tasks: List[Task]) -> Dict[str, Dict[str, str]]:
    """Options by task; one that no task has is refused."""
    pairs: List[Tuple[str, str]] = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise MertError(f"--option {text}: NAME=VALUE wanted")
        if not any(option.name == name for task in tasks for option in task.options):
            known = sorted({option.name for task in tasks for option in task.options})
            raise MertError(f"--option {text}: no task given has {name}; they have {', '.join(known) or 'none'}")
        pairs.append((name, value))
    return {task.name: {name: value for name, value in pairs if any(option.name == name for option in task.options)} for task in tasks}


def _tasks(names: List[str]) -> List[Task]:
    return list(TASKS.values()) if names == ["all"] else [task_named(name) for name in names]


def _layers(names: Optional[List[str]]) -> Optional[Tuple[Optional[int], ...]]:
    if names is None:
        return None
    wrong = [name for name in names if name != "all" and not name.isdecimal()]
    if wrong:
        raise MertError(f"--layers {wrong[0]}: a number, or all")
    return tuple(None if name == "all" else int(name) for name in names)


class Bars:
    """A progress bar for each thing that is being done, one after the other."""

    def __init__(self) -> None:
        self._what, self._bar = "", None

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, what: str, done: int, total: int) -> None:
        """Moves the bar of `what`, after closing that of something else."""
        if what != self._what:
            self.__exit__()
            self._what, self._bar = what, tqdm(total=total, desc=what, leave=False, disable=not sys.stderr.isatty())
        self._bar.total = total
        self._bar.update(done - self._bar.n)
