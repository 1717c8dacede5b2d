"""`mert probe toy`: encoders on made-up, labelled music; needs no download, and a few minutes on two cores."""

import argparse
import sys
from pathlib import Path
from typing import Dict, List

import numpy as np
from tqdm import tqdm

from mert_fairseq.errors import MertError
from mert_fairseq.probe.encoders import open_encoder, short_name
from mert_fairseq.probe.probing import GridSettings
from mert_fairseq.probe.results import Results, read_results, read_scored
from mert_fairseq.probe.run import ProbeSettings, run_task
from mert_fairseq.probe.significance import interval, mean_difference, task_replicates
from mert_fairseq.probe.toy.corpus import build
from mert_fairseq.probe.toy.rows import RATES, toy_rows
from mert_fairseq.probe.toy.tasks import TOY_TASKS

SEEDS = (1, 2, 3, 4, 5)


def add_parser(kinds) -> None:
    """Adds `toy --model MODEL [MODEL ...]`."""
    parser = kinds.add_parser("toy", help="encoders on made-up music: the gate that needs no download")
    parser.add_argument("--model", nargs="+", required=True, metavar="MODEL", help="as for tasks; the first one is held against the others")
    parser.add_argument("--dir", type=Path, default=Path("probes/toy"), help="clips, features and scores (default: %(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="S", help="of the heads that are tested (default: 1 to 5)")
    parser.add_argument("--device", help="cpu, cuda ... (default: a GPU where there is one)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Accuracy of every encoder on every task, and the mean difference of the first one to each other with its 95 % interval."""
    folders = {spec: args.dir / short_name(spec) for spec in args.model}
    if len(set(folders.values())) < len(args.model):
        raise MertError(f"--model {' '.join(args.model)}: two of one name; put one of them into a folder of another name")
    for spec in args.model:  # before the minute that the clips take
        open_encoder(spec, args.device)
    clips = args.dir / "clips"
    build(clips)
    for spec, folder in folders.items():
        _probe(spec, folder, clips, args)
    found = {spec: {name: read_results(folder / name) for name in TOY_TASKS} for spec, folder in folders.items()}
    print(_table(found, folders))
    first, *others = args.model
    for other in others:
        pairs = [tuple(read_scored(folders[spec] / name) for spec in (first, other)) for name in TOY_TASKS]
        gap = mean_difference(pairs)
        low, high = gap.interval
        verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        print(f"{first} - {other}: {gap.mean:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}): {verdict}")
    return 0


def _probe(spec: str, folder: Path, clips: Path, args: argparse.Namespace) -> None:
    encoder = open_encoder(spec, args.device)
    grid = GridSettings(rates=RATES, seeds=tuple(args.seeds))
    settings = ProbeSettings(clips, folder, args.dir / "cache", grid, batch=8)
    for task in tqdm(toy_rows().values(), desc=short_name(spec), disable=not sys.stderr.isatty()):
        run_task(task, encoder, settings, lambda text: None, lambda *at: None)


def _table(found: Dict[str, Dict[str, Results]], folders: Dict[str, Path]) -> str:
    """Markdown: accuracy in per cent, the average with its interval over test clips."""
    head = ["model", *(f"{name} ({100 / len(task.classes):.0f})" for name, task in TOY_TASKS.items()), "average"]
    rows: List[List[str]] = []
    for spec, results in found.items():
        scores = [100 * result.scores["accuracy"].mean for result in results.values()]
        low, high = interval(np.mean([task_replicates(read_scored(folders[spec] / name)) for name in TOY_TASKS], axis=0))
        rows.append([spec, *(f"{score:.1f}" for score in scores), f"{np.mean(scores):.1f} ({low:.1f} to {high:.1f})"])
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
