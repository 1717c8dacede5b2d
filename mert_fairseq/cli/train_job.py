"""A training as a job: runs fairseq-hydra-train in this very process, so that its signals and submitit's requeueing work together.

The class travels to the job by value: the package itself must not be imported there, fairseq does it later by common.user_dir.
"""

import os
import sys
import time
from pathlib import Path
from typing import List, Optional

import submitit

INTERRUPTED = 85  # exit code of a training that a signal ended after a checkpoint was saved
VERDICT_S = 600.0  # a rank that ended for a signal stays this long: rank 0 requeues the job, or the scheduler requeues or kills it
START = "mert: training starts"  # in the log, which a requeued job continues
IDLE_RUNS = 3  # requeued so often in a row without a new checkpoint, a training would never end


class InputFault(RuntimeError):
    """What was given is wrong: submitting it again would not help."""


class TrainJob:
    """What submitit runs as each process of a training.

    Args:
        arguments: those of fairseq-hydra-train.
        last: the checkpoint whose renewal tells progress; None: not known.
    """

    def __init__(self, arguments: List[str], last: Optional[Path] = None):
        self.arguments, self.last = arguments, last
        self.saved, self.idle_runs = self._saved(), 0

    def __call__(self) -> None:
        """Trains to the end.

        Raises:
            InputFault: a setting, a file or a folder is wrong.
        """
        print(START, file=sys.stderr, flush=True)
        sys.argv = ["fairseq-hydra-train", *self.arguments]
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra passes exceptions on instead of printing them and exiting with 1
        from fairseq_cli.hydra_train import cli_main
        from hydra.errors import CompactHydraException

        try:
            cli_main()
        except CompactHydraException as error:
            raise InputFault(str(error)) from None
        except SystemExit as stop:
            if stop.code == INTERRUPTED and "SLURM_JOB_ID" in os.environ:
                time.sleep(VERDICT_S)
            if stop.code:
                raise

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit before it requeues the job: the same arguments go on from the checkpoint just saved.

        Raises:
            InputFault: as before the runs before this one, there is no new checkpoint.
        """
        saved = self._saved()
        self.idle_runs = self.idle_runs + 1 if saved == self.saved else 0
        self.saved = saved
        if self.last is not None and self.idle_runs >= IDLE_RUNS:
            raise InputFault(f"{IDLE_RUNS} runs in a row ended without a new checkpoint in {self.last.parent}; give more SITE_TIMEOUT_MIN")
        return submitit.helpers.DelayedSubmission(self)

    def _saved(self) -> Optional[int]:
        try:
            return self.last.stat().st_mtime_ns if self.last else None
        except FileNotFoundError:
            return None
