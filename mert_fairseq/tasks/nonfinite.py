"""Updates whose gradients are not finite: skipped, counted, and after some in a row an end that names the files."""

import logging
from typing import Any, Callable, List, Sequence, Tuple

import torch
from fairseq.tasks.fairseq_task import StatefulContainer
from torch import Tensor

from mert_fairseq.errors import MertError

logger = logging.getLogger(__name__)


class SkippedUpdate(Exception):
    """Ends an update before its step."""


class NonFiniteUpdates:
    """Looks at each update's gradient before it is applied.

    Args:
        state: of the task; its `skipped_updates` count on when the run is resumed.
        files_of: numbers of clips -> their files.
    """

    def __init__(self, state: StatefulContainer, files_of: Callable[[Sequence[int]], List[str]]) -> None:
        self._state, self._files_of = state, files_of
        self._in_a_row = 0
        self._batches: List[Tuple[Sequence[int], Tensor]] = []
        state.add_factory("skipped_updates", int)

    def begin_update(self) -> None:
        """Forgets the batches of the one before."""
        self._batches.clear()

    def note(self, ids: Sequence[int], loss: Tensor) -> None:
        """One batch of the update; its loss is looked at only if the gradient is not finite."""
        self._batches.append((ids, loss.detach()))

    def judge(self, grad_norm: Tensor, patience: int) -> None:
        """Called with the norm of the gradient, which is that of all processes.

        Raises:
            SkippedUpdate: it is not finite.
            MertError: for the patience-th time in a row.
        """
        if torch.isfinite(torch.as_tensor(grad_norm)).all():
            self._in_a_row = 0
            return
        self._in_a_row += 1
        self._state.merge_state_dict({"skipped_updates": self._state.skipped_updates + 1})
        said = f"loss or gradient is not finite, update skipped ({self._in_a_row} in a row); {self.culprits()}"
        if self._in_a_row >= patience:
            raise MertError(
                f"{said}; criterion.nan_patience={patience} is reached. The last checkpoint is whole; look at these files, "
                "or lower optimization.lr"
            )
        logger.warning(said)
        raise SkippedUpdate(said)

    def any_bad_loss(self) -> bool:
        """Whether a loss of the update is not finite, in any process; all ask at once."""
        return any(_of_all_processes(bool(self._bad())))

    def _bad(self) -> List[Sequence[int]]:
        return [ids for ids, loss in self._batches if not torch.isfinite(loss).all()]

    def culprits(self) -> str:
        """The files of those batches whose loss is not finite, else of all, in all processes; all ask at once."""
        bad = sum(_of_all_processes(self._files_of(self._bad())), [])
        if bad:
            return f"files: {_listed(bad)}"
        seen = sum(_of_all_processes(self._files_of([ids for ids, _ in self._batches])), [])
        return f"all losses are finite; files: {_listed(seen)}"


def _of_all_processes(value: Any) -> List[Any]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: List[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def _listed(files: List[str]) -> str:
    return ", ".join(sorted(set(files))) or "none"


def guarded(train_step: Callable) -> Callable:
    """Wraps the trainer's step: a skipped update ends it without a step, a log line or a count."""

    def step(self: Any, samples: Any, *args: Any, **options: Any):
        """fairseq's; None for a skipped update, be it fairseq's own where half precision overflows."""
        if hasattr(self.task, "begin_update"):
            self.task.begin_update()
        try:
            logged = train_step(self, samples, *args, **options)
        except SkippedUpdate:
            self.zero_grad()
            logged = None
        if logged is None and hasattr(self.task, "end_skipped_update"):
            self.task.end_skipped_update()
        return logged

    return step
