"""Jobs of one run through submitit: submits, waits, tries again, and says what failed and why."""

import contextlib
import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import cloudpickle
import submitit
import torch
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob
from tqdm import tqdm

from mert_fairseq.cli import shard_job
from mert_fairseq.cli.site import DEFAULTS
from mert_fairseq.errors import MertError

POLL_S = {"slurm": 5.0, "local": 0.2}
SACCT_S = 60.0  # at most, between questions to the scheduler, which alone knows of a job that died without a result
NO_LIMIT_MIN = 10 * 365 * 24 * 60  # submitit's own default for this machine is 2 minutes
NO_REASON = re.compile(r"srun: |submitit \w+ \(")  # lines of a log that only say that something failed
PREFIX = re.compile(r"(?:[\w.]+Error: )?(?:mert: )?")
GIVEN_UP = "timed-out too many times"  # submitit's word for a job that it does not requeue any more

cloudpickle.register_pickle_by_value(shard_job)


@dataclass
class ClusterSettings:
    """How shards are run as jobs.

    Attributes:
        cluster: "slurm", or "local" for this machine.
        job_logs: each run makes a folder in it, with a log per job and attempt.
        attempts: times a shard is tried before it is given up.
        jobs_at_once: None leaves it to the scheduler; on this machine it means 1.
        site: submitit's parameters, see `read_site`.
    """

    cluster: str
    job_logs: Path
    attempts: int = 3
    jobs_at_once: Optional[int] = None
    site: Dict[str, Any] = field(default_factory=lambda: dict(DEFAULTS))


def run_shards(command_of: Callable[[int], List[str]], shards: Sequence[int], settings: ClusterSettings) -> None:
    """Runs one job per shard, tries again what failed, and returns when all are done; a bar counts shards at a terminal.

    Args:
        command_of: shard -> command line; it must do nothing if its shard is complete.

    Raises:
        MertError: after all others are done, if shards failed at every attempt; each is named with reason and log.
        KeyboardInterrupt: jobs on a cluster go on, and stderr says how to cancel them; jobs on this machine are stopped.
    """
    run = _Run(command_of, shards, settings)
    with tqdm(total=len(shards), desc="shards", unit="shard", disable=not sys.stderr.isatty()) as bar:
        try:
            while run.waiting or run.running:
                run.submit()
                time.sleep(POLL_S[settings.cluster])
                bar.update(run.collect())
        except (KeyboardInterrupt, MertError):
            run.leave()
            raise
    run.refuse_failed(len(shards))


class _Run:
    """What waits, what runs and what failed."""

    def __init__(self, command_of: Callable[[int], List[str]], shards: Sequence[int], settings: ClusterSettings):
        self.command_of, self.settings = command_of, settings
        self.local = settings.cluster == "local"
        self.waiting, self.tries = list(shards), dict.fromkeys(shards, 0)
        self.running: Dict[int, submitit.Job] = {}
        self.failed: Dict[int, Tuple[str, Path]] = {}  # reason and log
        self.executor = _executor(settings, len(self.waiting))

    def submit(self) -> None:
        """Submits what waits, as one array; on this machine as many as may run at once."""
        room = (self.settings.jobs_at_once or 1) - len(self.running) if self.local else len(self.waiting)
        batch, self.waiting = self.waiting[:room], self.waiting[room:]
        if not batch:
            return
        jobs = [shard_job.ShardJob(self.command_of(shard), self._environment(shard)) for shard in batch]
        try:
            with _stderr_to(self.executor.folder / "submitit.log") if self.local else contextlib.nullcontext():
                self.running.update(zip(batch, self.executor.submit_array(jobs)))
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            reason = str(error).strip().rsplit("\n", 1)[-1]
            raise MertError(f"{len(batch)} jobs cannot be submitted ({reason}); see --site, --job-logs, --nshard") from None
        for shard in batch:
            self.tries[shard] += 1

    def collect(self) -> int:
        """Takes what has ended; returns how many shards are done, well or for good."""
        ended = {shard: job for shard, job in self.running.items() if job.done()}
        count = 0
        for shard, job in ended.items():
            del self.running[shard]
            if job.exception() is None:
                count += 1
                continue
            reason, log = _reason(job), job.paths.stderr
            too_long = GIVEN_UP in reason
            if too_long:
                reason = f"out of time in each of {self.settings.attempts} runs; give more SITE_TIMEOUT_MIN"
            final = too_long or self.tries[shard] >= self.settings.attempts or job.state.startswith("CANCELLED")
            told = f"shard {shard}: attempt {self.tries[shard]} of {self.settings.attempts} failed: {reason} ({log})"
            tqdm.write(told, file=sys.stderr)
            if final:
                self.failed[shard] = (reason, log)
                count += 1
            else:
                self.waiting.append(shard)
        return count

    def refuse_failed(self, num_shards: int) -> None:
        """Raises a MertError that names the failed shards, those with the same reason together."""
        shards_of: Dict[str, List[int]] = {}
        for shard, (reason, _) in sorted(self.failed.items()):
            shards_of.setdefault(reason, []).append(shard)
        if shards_of:
            told = [f"shard {', '.join(map(str, some))}: {why} (log {self.failed[some[0]][1]})" for why, some in shards_of.items()]
            rest = f"{num_shards - len(self.failed)} of {num_shards} shards are complete, {len(self.failed)} failed: "
            raise MertError(rest + "; ".join(told) + "; mend it and give the same command to go on")

    def leave(self) -> None:
        """Stops the jobs on this machine; those on a cluster go on, and stderr says so."""
        if self.local:
            for job in self.running.values():
                job.cancel()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and not all(job.done() for job in self.running.values()):
                time.sleep(0.05)
        elif self.running:
            ids = " ".join(sorted({job.job_id.split("_")[0] for job in self.running.values()}))
            mend = f"let them end or `scancel {ids}` before you give the same command again"
            tqdm.write(f"mert: {len(self.running)} jobs go on; {mend}", file=sys.stderr)

    def _environment(self, shard: int) -> Dict[str, str]:
        """On this machine jobs share the cores, and take turns with the GPUs, which submitit would hide."""
        if not self.local:
            return {}
        cores = max(1, len(os.sched_getaffinity(0)) // (self.settings.jobs_at_once or 1))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = map(str, range(torch.cuda.device_count())) if visible is None else visible.split(",")
        devices = list(devices) or [""]
        threads = os.environ.get("OMP_NUM_THREADS", str(cores))
        return {"OMP_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": devices[shard % len(devices)]}


def _executor(settings: ClusterSettings, num_jobs: int) -> submitit.AutoExecutor:
    SlurmJob.watcher = SlurmInfoWatcher(delay_s=SACCT_S)
    folder = settings.job_logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"  # job numbers may come again
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise MertError(f"{folder}: cannot be made ({error.strerror}); give another --job-logs") from None
    executor = submitit.AutoExecutor(folder, cluster=settings.cluster, slurm_max_num_timeout=settings.attempts - 1)
    if settings.cluster == "local":
        executor.update_parameters(timeout_min=NO_LIMIT_MIN)
    else:
        cores = [f"--cpus-per-task={settings.site['cpus_per_task']}"]  # which srun does not take over from the job
        parallel = settings.jobs_at_once or num_jobs
        executor.update_parameters(name="mert-labels", slurm_array_parallelism=parallel, slurm_srun_args=cores, **settings.site)
    return executor


@contextlib.contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """What is started within writes its complaints there: submitit's processes show a traceback each when interrupted."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(path, "a", encoding="utf-8") as log:
            os.dup2(log.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _reason(job: submitit.Job) -> str:
    """The last line of the job's log that says something."""
    try:
        lines = job.paths.stderr.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    lines = [line.strip() for line in lines if line.strip() and not NO_REASON.match(line)]
    return PREFIX.sub("", lines[-1], count=1) if lines else f"the job ended without a word (state {job.state})"
