"""The shards of `mert labels` as jobs, on a Slurm cluster or several at once on this machine: arguments and command lines."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Callable, List, Optional, Sequence

from mert_fairseq.cli.shard_run import ClusterSettings
from mert_fairseq.cli.site import DEFAULTS, read_site
from mert_fairseq.errors import MertError

CLUSTERS = ("slurm", "local")
PROGRAM = "mert_fairseq.cli.main"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --slurm and what goes with it."""
    group = parser.add_argument_group("one job per shard, through submitit")
    group.add_argument("--slurm", nargs="?", const="slurm", choices=CLUSTERS, help="on a Slurm cluster, or `local`: on this machine")
    group.add_argument("--jobs-at-once", type=int, metavar="N", help="jobs that run together (default: slurm as it likes, local 1)")
    group.add_argument("--attempts", type=int, default=3, metavar="N", help="tries of a shard before it is given up (default 3)")
    group.add_argument("--site", metavar="FILE", help="partition, account, limits of the cluster: a copy of slurm/site.sh")
    group.add_argument("--job-logs", metavar="DIR", help="for the logs of the jobs (default LABEL_DIR/logs)")


def settings_of(args: argparse.Namespace) -> Optional[ClusterSettings]:
    """What the parsed arguments ask for; None without --slurm.

    Raises:
        MertError: a number below 1, options without --slurm, an unreadable site file, or no sbatch here.
    """
    if args.slurm is None:
        given = {"--jobs-at-once": args.jobs_at_once, "--site": args.site, "--job-logs": args.job_logs}
        lone = [name for name, value in given.items() if value is not None]
        if lone:
            raise MertError(f"{', '.join(lone)} without --slurm; add --slurm for a cluster or --slurm local for this machine")
        return None
    if args.attempts < 1 or (args.jobs_at_once is not None and args.jobs_at_once < 1):
        raise MertError(f"--attempts {args.attempts} --jobs-at-once {args.jobs_at_once}: need at least 1")
    if args.slurm == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise MertError("--slurm: no sbatch and srun on this machine; run on a login node, or give --slurm local --jobs-at-once N")
    site = {**DEFAULTS, **(read_site(Path(args.site)) if args.site else {})}
    logs = Path(args.job_logs or Path(args.label_dir) / "logs")
    return ClusterSettings(args.slurm, logs, args.attempts, args.jobs_at_once, site)


def plain_command(argv: Sequence[str]) -> List[str]:
    """The arguments without those of `add_arguments`, however they were spelt; the rest is left as it is, in order.

    Args:
        argv: arguments that the whole parser has accepted. What it takes for an abbreviation of one of these, this does too.
    """
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    return parser.parse_known_args(list(argv))[1]


def shard_command(argv: Sequence[str]) -> Callable[[int], List[str]]:
    """Shard -> the command line that does it alone, in this interpreter; `argv` begins with stage and kind, as in `labels cqt`."""
    plain = plain_command(argv)
    return lambda shard: [sys.executable, "-m", PROGRAM, *plain[:2], "--shard", str(shard), *plain[2:]]
