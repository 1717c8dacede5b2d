"""Submits training, targets or probes to a cluster through submitit.

    python slurm/submit.py train  --nodes 2 --gpus-per-node 8 -- --config-name mert_base task.data=MANIFEST_DIR task.label_dir=LABEL_DIR
    python slurm/submit.py labels -- encodec MANIFEST_DIR LABEL_DIR --weights FOLDER --nshard 64
    python slurm/submit.py probe GTZAN MTT -- --model FOLDER --data DIR --out DIR

Behind -- stand the arguments of fairseq-hydra-train, of `mert labels` and of `mert probe`. Values of the cluster: slurm/site.sh.
Exit code 0; 1 and one line on a fault of the input or a job that did not finish; 2 on wrong usage; 130 when interrupted.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from mert_fairseq.cli.job_watch import watch
from mert_fairseq.cli.main import build_parser as mert_parser
from mert_fairseq.cli.main import main as mert
from mert_fairseq.cli.shard_job import ShardJob
from mert_fairseq.cli.site import DEFAULTS, read_site
from mert_fairseq.cli.slurm_jobs import CLUSTERS, job_parameters, sbatch_text, submit_jobs
from mert_fairseq.cli.split_shards import check_arguments, shards_of
from mert_fairseq.cli.train_job import TrainJob
from mert_fairseq.cli.training_command import PROGRAM, read_training_command
from mert_fairseq.errors import MertError

SITE = Path(__file__).with_name("site.sh")


def build_parser() -> argparse.ArgumentParser:
    """What stands before `--`."""
    parser = argparse.ArgumentParser(prog="submit.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whats = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    train = _add(whats, "train", "fairseq-hydra-train, one process per GPU or task", run_train)
    train.add_argument("--nodes", type=_count, default=1, metavar="N", help="machines (default 1)")
    size = train.add_mutually_exclusive_group()
    size.add_argument("--gpus-per-node", type=_count, metavar="G", help="GPUs of each, a process for each (default SITE_GPUS_PER_NODE)")
    size.add_argument("--tasks-per-node", type=_count, metavar="T", help="processes of each, on the CPU")
    train.add_argument("--run-dir", metavar="DIR", help="run folder, as hydra.run.dir=DIR (default: the configuration's)")
    labels = _add(whats, "labels", "`mert labels --slurm`: a job per shard; stays until all are done", run_labels)
    probe = _add(whats, "probe", "`mert probe`: a job per task", run_probe)
    probe.add_argument("tasks", nargs="+", metavar="TASK")
    probe.add_argument("--job-logs", metavar="DIR", default="probe_logs", help="for the logs of the jobs (default probe_logs)")
    for some in (train, probe):
        some.add_argument("--wait", action="store_true", help="stay, tell the state, submit again what dies")
    for some in (train, probe, labels):
        some.add_argument("--attempts", type=_count, default=3, metavar="N", help="times a job that dies is submitted (default 3)")
    return parser


def _add(whats, name: str, help_text: str, run) -> argparse.ArgumentParser:
    parser = whats.add_parser(name, help=help_text)
    parser.add_argument("--site", metavar="FILE", default=SITE, help="values of the cluster (default slurm/site.sh)")
    parser.add_argument("--cluster", choices=CLUSTERS, default="slurm", help="slurm (default), or local: this machine")
    parser.add_argument("--dry-run", action="store_true", help="print the sbatch file, submit nothing")
    parser.set_defaults(run=run)
    return parser


def run_train(args: argparse.Namespace, rest: List[str]) -> int:
    """One job, whose processes train together."""
    site = _site(args)
    gpus = args.gpus_per_node or (None if args.tasks_per_node else site.get("gpus_per_node"))
    tasks = gpus or args.tasks_per_node or 1
    if args.cluster == "local" and args.nodes > 1:
        raise MertError(f"--nodes {args.nodes} --cluster local: this machine is one node; leave --nodes out")
    if args.run_dir:
        rest = [*rest, f"hydra.run.dir='{Path(args.run_dir).absolute()}'"]
    if args.cluster == "local" and tasks > 1:
        rest = [*rest, f"distributed_training.distributed_world_size={tasks}"]
    command = read_training_command(rest)
    if args.dry_run and args.cluster == "local":
        print(shlex.join([PROGRAM, *command.arguments]))
        return 0
    name = f"mert-{command.run_dir.absolute()}"
    parameters = job_parameters(name, site, args.nodes, tasks, gpus)
    parameters.setdefault("slurm_dependency", "singleton")  # two jobs of one run would write the same checkpoints
    return _run(args, parameters, command.run_dir / "jobs", {str(command.run_dir): TrainJob(command.arguments, command.last.absolute())})


def run_labels(args: argparse.Namespace, rest: List[str]) -> int:
    """Leaves it to `mert labels --slurm`."""
    argv = ["labels", *rest, "--slurm", args.cluster, "--site", str(args.site), "--attempts", str(args.attempts)]
    if not args.dry_run:
        return mert(argv)
    labels, site = mert_parser().parse_args(argv), _site(args)
    check_arguments(labels)
    shards = len(shards_of(labels))
    cores = [f"--cpus-per-task={site['cpus_per_task']}"]
    parallel = labels.jobs_at_once or shards
    parameters = {"name": "mert-labels", "slurm_array_parallelism": parallel, "slurm_srun_args": cores, **site}
    print(sbatch_text(parameters, _folder(labels.job_logs or Path(labels.label_dir) / "logs"), shards))
    return 0


def run_probe(args: argparse.Namespace, rest: List[str]) -> int:
    """A job per task, together an array."""
    site = _site(args)
    parameters = job_parameters("mert-probe", site, gpus_per_node=site.get("gpus_per_node"))
    command = [sys.executable, "-m", "mert_fairseq.cli.main", "probe"]
    return _run(args, parameters, Path(args.job_logs), {task: ShardJob([*command, task, *rest], {}) for task in args.tasks})


def _run(args: argparse.Namespace, parameters: Dict[str, Any], logs: Path, jobs: Dict[str, Any]) -> int:
    folder = _folder(logs)
    if args.dry_run:
        print(sbatch_text(parameters, folder, len(jobs)))
        return 0

    def submit(names):
        submitted = submit_jobs(args.cluster, parameters, folder, [jobs[name] for name in names])
        for name, job in zip(names, submitted):
            print(f"{name}: job {job.job_id}, log {job.paths.stdout}, errors {job.paths.stderr}", flush=True)
        return submitted

    if args.wait:
        watch(submit, list(jobs), args.cluster, args.attempts)
        return 0
    ids = " ".join(sorted({job.job_id.split("_")[0] for job in submit(list(jobs))}))
    print(f"watch: squeue -j {ids.replace(' ', ',')}    cancel: scancel {ids}" if args.cluster == "slurm" else f"stop: kill {ids}")
    return 0


def _folder(logs: Path) -> Path:
    """For one submission: job numbers may come again."""
    return Path(logs).absolute() / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def _site(args: argparse.Namespace) -> Dict[str, Any]:
    return {**DEFAULTS, **read_site(Path(args.site))}


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: need a whole number, at least 1")
    return int(text)


def parse(argv: List[str]) -> Tuple[argparse.Namespace, List[str]]:
    """Options, and what stands behind --."""
    parser = build_parser()
    cut = argv.index("--") if "--" in argv else len(argv)
    args, rest = parser.parse_args(argv[:cut]), argv[cut + 1 :]
    if not rest:
        parser.error(f"{args.what}: no arguments behind --, e.g. submit.py train -- --config-name mert_base task.data=MANIFEST_DIR")
    return args, rest


def main(argv: List[str]) -> int:
    """Runs what the command line says."""
    args, rest = parse(argv)
    try:
        return args.run(args, rest)
    except MertError as error:
        print(f"submit.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
