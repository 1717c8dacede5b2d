"""One shard as a job: runs a command in a process of its own and passes on how it ended.

The class travels to the job by value, beside its strings: the process that waits there for the command needs submitit alone,
neither torch nor this package, and is ready in a tenth of a second.
"""

import os
import signal
import subprocess
import sys
import time
from typing import Dict, List, Optional

import submitit

NOTICES = (signal.SIGUSR1, signal.SIGUSR2)  # with which a scheduler announces a time limit or a preemption
STOP_S = 5.0  # for the command to clean up after an interrupt
LIMBO_S = 120.0  # after a SIGTERM: the scheduler's own verdict, requeue or kill, follows within it


class ShardJob:
    """What submitit runs for one shard.

    Args:
        command: the command line of the shard.
        environment: variables to set for it.
    """

    def __init__(self, command: List[str], environment: Dict[str, str]):
        self.command, self.environment = command, environment
        self._process: Optional[subprocess.Popen] = None

    def __call__(self) -> None:
        """Runs the command, its output going to the job's log.

        Raises:
            RuntimeError: it failed; the message is the last line of its stderr.
        """
        try:
            self._start()
            line = self._pass_on_stderr()
            while self._process.poll() is None:
                time.sleep(0.05)
        finally:
            self._stop()
        code = self._process.returncode
        if code == -signal.SIGTERM:
            time.sleep(LIMBO_S)
        if code < 0:
            line = f"killed by {signal.Signals(-code).name}" + " (out of memory?)" * (code == -signal.SIGKILL) + f" {line}".rstrip()
        if code:
            raise RuntimeError(line or f"ended with code {code} without a word")

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit before a preempted or timed-out job is requeued: the same command goes on where this one stops."""
        self._stop()
        return submitit.helpers.DelayedSubmission(ShardJob(self.command, self.environment))

    def _start(self) -> None:
        """Starts the command; notices, which some clusters send to every process of a job, are for this process alone."""
        environment = {**os.environ, **self.environment}
        if "SLURM_CPUS_PER_TASK" in environment:
            environment.setdefault("OMP_NUM_THREADS", environment["SLURM_CPUS_PER_TASK"])
        self._process = subprocess.Popen(
            self.command,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            preexec_fn=_set_signals,  # this process has one thread
        )

    def _pass_on_stderr(self) -> str:
        """Copies the command's stderr to the log; returns its last line that is not empty."""
        last = ""
        for line in self._process.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            last = line.strip() or last
        return last

    def _stop(self) -> None:
        """Ends the command if it still runs: by an interrupt, at which it cleans up, then by force."""
        if self._process is None or self._ends_within(0.2):  # an interrupt at the terminal reaches it as well
            return
        self._process.send_signal(signal.SIGINT)
        if not self._ends_within(STOP_S):
            self._process.kill()

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self._process.poll() is not None


def _set_signals() -> None:
    """Notices are not for the command; interrupts are, even where the shell that started it all ignores them (nohup, `&`)."""
    for notice in NOTICES:
        signal.signal(notice, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
