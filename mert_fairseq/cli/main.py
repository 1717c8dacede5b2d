"""Entry of the `mert` command."""

import argparse
import errno
import logging
import sys
import warnings
from typing import List, Optional

from mert_fairseq.cli import export, features, import_weights, labels, manifest, probe, report, teacher
from mert_fairseq.errors import MertError

STAGES = (manifest, teacher, labels, report, export, import_weights, features, probe)  # in the order of the pipeline
DESCRIPTION = "MERT pre-training, in order: manifest, teacher, labels, then training by fairseq-hydra-train, then what is done with it."


def build_parser() -> argparse.ArgumentParser:
    """All stages as subcommands."""
    parser = argparse.ArgumentParser(prog="mert", description=DESCRIPTION)
    subparsers = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage in STAGES:
        stage.add_parser(subparsers)
    return parser


def main(argv: Optional[List[str]] = None) -> int:
    """Exit code 0; 1 and one line on a fault of the input; 2 on wrong usage; 130 when interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)  # fairseq set it up before
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight_norm.*")  # fairseq's, whose names checkpoints have
    argv = sys.argv[1:] if argv is None else [str(argument) for argument in argv]
    args = build_parser().parse_args(probe.with_kind(argv))
    args.argv = argv  # which jobs on a cluster are given again
    try:
        return _run(args)
    except MertError as error:
        print(f"mert: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mert: interrupted; nothing written is lost, give the same command to go on", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    """The command. A name that no file can have is refused here, wherever the file was looked for."""
    try:
        return args.run(args)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise MertError(f"{error.filename}: a longer name than its file system allows; give a shorter path") from None
        raise


if __name__ == "__main__":
    sys.exit(main())
