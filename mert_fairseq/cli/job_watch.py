"""Watches submitted jobs to their end, and submits again what died without finishing."""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

import submitit
from submitit.core.utils import pickle_load

from mert_fairseq.cli.train_job import START
from mert_fairseq.errors import MertError

POLL_S = {"slurm": 5.0, "local": 0.5}
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT")
ENDED_HERE = ("FINISHED", "INTERRUPTED")  # submitit's words for processes of this machine
STATE = re.compile(r"\bJobState=(\w+)")
DEATH = re.compile(r"srun: error: (\S+: tasks? [\d,-]+: (?!Terminated|Exited).+)")
NOISE = re.compile(r"\s*$|srun: |submitit \w+ \(|slurmstepd: ")
FAULT = re.compile(r"(?:[\w.]+\.)?InputFault: (.*)")  # of TrainJob

Submit = Callable[[Sequence[str]], List[submitit.Job]]


@dataclass(frozen=True)
class Ending:
    """How a job ended.

    Attributes:
        reason: None if every process of it finished.
        final: submitting it again would not help, or is not wanted.
        log: where to read more.
    """

    reason: Optional[str]
    final: bool
    log: Path


def watch(submit: Submit, names: Sequence[str], cluster: str, attempts: int) -> None:
    """Submits jobs and stays until all have finished; what dies is submitted again, and goes on where it stopped.

    Args:
        submit: names -> one job each.
        attempts: times a job is submitted.

    Raises:
        MertError: after all others have ended, if some did not finish; each with reason and log.
        KeyboardInterrupt: jobs on a cluster go on; stderr says how to cancel them.
    """
    running, tries, failed = dict(zip(names, submit(names))), dict.fromkeys(names, 1), {}
    seen: Dict[str, str] = {}
    try:
        while running:
            time.sleep(POLL_S[cluster])
            for name, job in list(running.items()):
                end = _step(name, job, seen)
                if end is None:
                    continue
                del running[name]
                if end.reason is None:
                    _tell(f"{name}: finished")
                elif end.final or tries[name] >= attempts:
                    failed[name] = end
                else:
                    _tell(f"{name}: attempt {tries[name]} of {attempts} died: {end.reason} ({end.log})")
                    tries[name] += 1
                    [running[name]] = submit([name])
    except KeyboardInterrupt:
        _leave(running, cluster)
        raise
    if failed:
        told = [f"{name}: {end.reason} (attempt {tries[name]} of {attempts}, log {end.log})" for name, end in failed.items()]
        raise MertError("; ".join(told) + "; mend it and give the same command to go on")


def _step(name: str, job: submitit.Job, seen: Dict[str, str]) -> Optional[Ending]:
    """Looks once; an end counts when seen twice in a row, as a requeued job passes through such states."""
    state, before = job_state(job), seen.get(job.job_id)
    seen[job.job_id] = state
    if state != before:
        _tell(f"{name}: job {job.job_id} {state}")
    return ending(job, state) if state == before and (state in ENDED or state in ENDED_HERE or state == "GONE") else None


def job_state(job: submitit.Job) -> str:
    """The scheduler's word for it; GONE if it is not known any more, UNKNOWN if the scheduler does not answer."""
    if not isinstance(job, submitit.SlurmJob):
        return job.state
    told = subprocess.run(["scontrol", "show", "job", "-o", job.job_id], capture_output=True, text=True)
    found = STATE.search(told.stdout)
    if found:
        return found[1]
    return "GONE" if "Invalid job id" in told.stderr else "UNKNOWN"


def ending(job: submitit.Job, state: str) -> Ending:
    """Reads the results that its processes left, and their logs."""
    tasks = [job.task(number) for number in range(job.num_tasks)]
    results = [pickle_load(task.paths.result_pickle) if task.paths.result_pickle.exists() else ("none", "") for task in tasks]
    if all(outcome == "success" for outcome, _ in results):
        return Ending(None, True, job.paths.stdout)
    said = [trace.strip().rsplit("\n", 1)[-1] if outcome == "error" else "" for outcome, trace in results]
    for line, task in zip(said, tasks):
        if FAULT.match(line):
            return Ending(FAULT.match(line)[1], True, task.paths.stderr)
    cancelled = state == "CANCELLED"
    log = tasks[0].paths.stderr  # srun's own words are there
    lines = _since_start(log)
    for line in lines:
        if cancelled or line.startswith("srun: Job step aborted"):
            outside = "cancelled" if cancelled else "ended from outside: batch script killed, node lost or out of time"
            return Ending(f"{state}: {outside}", cancelled, log)
        if DEATH.match(line):
            return Ending(DEATH.match(line)[1], False, log)
    # a rank that lost another says so; the one that was lost says why
    for line, task in sorted(zip(said, tasks), key=lambda pair: "Connection closed by peer" in pair[0]):
        if line:
            return Ending(line, cancelled, task.paths.stderr)
    last = next((line for line in reversed(lines) if not NOISE.match(line)), "without a word")
    return Ending(f"{state}: {last}", cancelled, log)


def _since_start(log: Path) -> List[str]:
    """Lines of the last start; a requeued job goes on in the same file."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    starts = [number for number, line in enumerate(lines) if line == START]
    return lines[starts[-1] :] if starts else lines


def _leave(running: Dict[str, submitit.Job], cluster: str) -> None:
    if cluster == "local":
        for job in running.values():
            job.cancel()
    else:
        ids = " ".join(sorted({job.job_id.split("_")[0] for job in running.values()}))
        print(f"submit.py: {len(running)} jobs go on; `scancel {ids}` ends them", file=sys.stderr)


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
