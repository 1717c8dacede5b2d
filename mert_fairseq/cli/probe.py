"""`mert probe`: what a frozen encoder understands of music, on 14 tasks.

mert probe GTZAN GS --model MODEL --data DIR     scores of tasks; `all` for every one
mert probe --list                                what each task needs
mert probe check GTZAN --data DIR                whether a dataset is complete, before hours are spent
mert probe table RUN...                          the 14-task table; `compare RUN OTHER` tests a difference
mert probe toy --model MODEL                     the gate that needs no download
"""

import argparse
import sys
from pathlib import Path
from typing import List

from tqdm import tqdm

from mert_fairseq.cli import probe_check, probe_table, probe_toy
from mert_fairseq.cli.probe_data import add_data, given_options, tasks_named
from mert_fairseq.cli.probe_settings import check_manifest, grid_of
from mert_fairseq.cli.progress_bars import Bars
from mert_fairseq.errors import MertError
from mert_fairseq.export.encoder import PRECISIONS
from mert_fairseq.probe.encoders import open_encoder, short_name
from mert_fairseq.probe.grid import RATES
from mert_fairseq.probe.listing import listing
from mert_fairseq.probe.registry import TASKS
from mert_fairseq.probe.results import Results
from mert_fairseq.probe.run import ProbeSettings, run_task

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
    probe_check.add_parser(kinds)
    probe_table.add_parsers(kinds)
    probe_toy.add_parser(kinds)


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", metavar="TASK", nargs="*", help=f"one of {', '.join(TASKS)}, or all")
    parser.add_argument("--list", action="store_true", help="licence, size, source, layout, splits and metric of every task")
    add_data(parser)
    add_encoder(parser)
    parser.add_argument("--out", type=Path, help="folder for scores (default: probes/MODEL)")
    parser.add_argument("--layers", nargs="+", metavar="N", help="hidden states to try; all: their sum (default: it and each)")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, metavar="R", help="rates to try (default: the paper's six)")
    parser.add_argument("--pretrained-on", type=Path, metavar="MANIFEST", help="train.tsv of the model, to look for test recordings in")
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
    tasks, left_out = tasks_named(args.tasks), []
    options = given_options(args.option, tasks)
    check_manifest(args.pretrained_on)
    encoder = open_encoder(args.model, args.device, args.precision)
    grid = grid_of(args, encoder.num_layers, [task.kind for task in tasks])
    batch = args.batch if args.batch is not None else (1 if encoder.device.type == "cpu" else 8)
    out = args.out or Path("probes") / short_name(args.model)
    for task in tasks:
        settings = ProbeSettings(args.data, out, args.cache, grid, options[task.name], args.any_counts, batch, args.pretrained_on)
        try:
            with Bars() as bars:
                results = run_task(task, encoder, settings, lambda text: tqdm.write(text, file=sys.stderr), bars.show)
        except MertError as error:
            if len(tasks) == 1:
                raise
            print(f"mert: {task.name} left out: {error}", file=sys.stderr)
            left_out.append(task.name)
            continue
        print(summary(results))
    print(f"{out}: {len(tasks) - len(left_out)} of {len(tasks)} tasks; mert probe table {out}")
    return 1 if left_out else 0


def summary(results: Results) -> str:
    """One line: the scores with their intervals and what was chosen."""
    scores = ", ".join(f"{name} {score.mean:.3f} ({score.low:.3f} to {score.high:.3f})" for name, score in results.scores.items())
    chosen = results.chosen or {}
    layer = {None: "all", -1: ""}.get(chosen.get("layer", -1), chosen.get("layer", ""))
    head = f"; layer {layer}, rate {chosen['rate']:g}" if chosen else ""
    return f"{results.task}: {scores}{head}, {len(results.seeds)} seeds"
