"""`mert import`: published weights as a checkpoint of this package."""

import argparse
import sys
from pathlib import Path

import torch

from mert_fairseq.data.part_files import written_whole
from mert_fairseq.errors import MertError
from mert_fairseq.export.imported import Imported, import_weights


def add_parser(subparsers) -> None:
    """Adds `import SOURCE OUT`."""
    parser = subparsers.add_parser(
        "import",
        help="a published model as a checkpoint",
        description="Turns a Hugging Face folder or a fairseq checkpoint of MERT into one that training begins from "
        "(checkpoint.finetune_from_model=OUT) and that the other commands read. Nothing in a pickle is run.",
    )
    parser.add_argument("source", metavar="SOURCE", help="Hugging Face folder, or .pt of fairseq")
    parser.add_argument("out", metavar="OUT", help="checkpoint to write, e.g. mert_95m.pt")
    parser.add_argument(
        "--codebook-sizes",
        type=int,
        nargs="+",
        metavar="V",
        help="entries of each codebook that training will predict, for a folder without heads (default: 8 of 1024)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the checkpoint and says what it lacks; an existing file is not replaced."""
    out = Path(args.out)
    if out.exists():
        raise MertError(f"{out}: exists; give another name, or remove it")
    imported = import_weights(args.source, args.codebook_sizes)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as part:
            torch.save(imported.state, part)
    except (OSError, RuntimeError) as error:  # torch's writer says of a full disk that it is a RuntimeError
        raise MertError(f"{out}: cannot be written ({str(error).splitlines()[0]})") from None
    _say(imported)
    print(f"{out}: {len(imported.state['model'])} weights; train from it with checkpoint.finetune_from_model={out}")
    return 0


def _say(imported: Imported) -> None:
    lists = {
        "not in the source, initialised at random": imported.initialised,
        "weights of the source that have no place here, left out": imported.left_out,
        "settings of the source that have no place here, ignored": [f"{name}={value}" for name, value in imported.ignored.items()],
    }
    for what, names in lists.items():
        if names:
            print(f"{what}: {', '.join(names)}", file=sys.stderr)
