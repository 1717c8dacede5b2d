"""The training that is disturbed: a few seconds, checkpoints often, everything random switched on."""

from pathlib import Path
from typing import Any, Dict

import training_runs as runs

from mert_fairseq.checkpoints import read_checkpoint
from mert_fairseq.report.run_log import LOG_NAME

UPDATES, SAVE_EVERY = 24, 5
# 36 crops, 2 a batch: 18 updates per epoch.
SETTINGS = (
    f"optimization.max_update={UPDATES}",
    f"checkpoint.save_interval_updates={SAVE_EVERY}",
    "dataset.validate_interval_updates=10",
    "dataset.num_workers=0",
    "model.mixture_prob=0.5",
    "model.dropout=0.1",
)
#: Python that holds training up in the batch behind `batches` others until the file `go` is there.
HELD = """
import itertools, os, time
from mert_fairseq.criterions.mert import MERTCriterion
forward, done = MERTCriterion.forward, itertools.count()
def held(criterion, *given, **named):
    if criterion.training and next(done) >= {batches}:
        while not os.path.exists({go!r}):
            time.sleep(0.01)
    return forward(criterion, *given, **named)
MERTCriterion.forward = held
"""


def train(corpus: Path, run_dir: Path, *overrides: str) -> list:
    """The command."""
    return ["fairseq-hydra-train", *runs.command(corpus, run_dir, *SETTINGS, *overrides)[1:]]


def held_after(batches: int, go: Path = Path("never")) -> str:
    """What a training is started with to be held up."""
    return HELD.format(batches=batches, go=str(go))


def reached(run_dir: Path, update: int) -> bool:
    """Whether an update stands in the log."""
    log = run_dir / LOG_NAME
    return log.is_file() and f'"num_updates": "{update}"' in log.read_text(encoding="utf-8", errors="replace")


def result(run_dir: Path) -> Dict[str, Any]:
    """All numbers that were logged but timings, and the last checkpoint's weights and optimizer."""
    state = read_checkpoint(str(run_dir / "checkpoints" / "checkpoint_last.pt"))
    tensors = {**state["model"], **{f"{at} {name}": value for at, part in _moments(state).items() for name, value in part.items()}}
    return {"log": runs.logged_numbers(run_dir), "weights": {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}}


def _moments(state: Dict[str, Any]) -> Dict[str, Any]:
    found = state["last_optimizer_state"]["state"]
    return {at: {name: value for name, value in part.items() if hasattr(value, "numpy")} for at, part in found.items()}
