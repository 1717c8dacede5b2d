"""Gives the alarms their figures: from what is logged anyway every so many updates, and from the codes counted in each validation."""

import logging
from typing import Any, Dict, List, Optional, Sequence

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from torch import Tensor

from mert_fairseq.tasks.alarm_line import Alarm
from mert_fairseq.tasks.alarms import Alarms, CodebookFigures

logger = logging.getLogger(__name__)

UPDATES_BETWEEN = 50  # looks at training's meters; only then is a figure read back from the device


class TrainingWatch:
    """Of one run; all processes see the same figures, the first says what there is to say.

    Args:
        state: the task's `StatefulContainer`.
        codebooks_from: update from which validations are judged.
    """

    def __init__(self, state: Any, codebooks_from: int = 0) -> None:
        self._alarms = Alarms(state, codebooks_from)
        self._counts: Optional[Tensor] = None

    def after_update(self, update: int) -> None:
        """Called within an update, whose figures are in fairseq's meters; the first one is what later ones are held against."""
        if update % UPDATES_BETWEEN and update != 1:
            return
        latest = {key: _meter("train", key, "val") for key in ("lr", "loss_scale")}
        features_pen = _meter("train_inner", "loss_features_pen", "avg")  # since the last line of the log
        _say(self._alarms.after_update(update, features_pen=features_pen, **latest))

    def count(self, logging_outputs: Sequence[Dict[str, Any]]) -> None:
        """Adds up the codes of a batch of a validation, summed over processes; the device is not waited for."""
        for log in logging_outputs:
            if "code_counts" in log:
                self._counts = log["code_counts"] if self._counts is None else self._counts + log["code_counts"]

    def after_validation(self, stats: Dict[str, float], num_classes: Sequence[int]) -> None:
        """Adds to `stats`, which are logged next, what the codes predicted and met were.

        `perplexity_m_{k}` and `target_perplexity_m_{k}`: of the codes predicted on masked frames and of those frames' targets;
        `most_frequent_m_{k}`: share of the targets' most frequent code.

        Args:
            num_classes: of each codebook, fairseq's special symbols included.
        """
        if self._counts is None:
            return
        counts, self._counts = self._counts.cpu(), None
        codebooks = [codebook_figures(part, stats, number) for number, part in enumerate(counts.split(list(num_classes), 1))]
        for number, figures in enumerate(codebooks):
            stats[f"perplexity_m_{number}"] = round(figures.predicted_perplexity, 2)
            stats[f"target_perplexity_m_{number}"] = round(figures.target_perplexity, 2)
            stats[f"most_frequent_m_{number}"] = round(figures.baseline, 5)
        _say(self._alarms.after_validation(int(stats["num_updates"]), codebooks))


def codebook_figures(counts: Tensor, stats: Dict[str, float], number: int) -> CodebookFigures:
    """Figures of one codebook.

    Args:
        counts: [2, V] how often each class was predicted and was the target.
        stats: of the validation, with the codebook's accuracy and cross-entropy.
    """
    shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    entropies = torch.special.entr(shares).sum(1)
    return CodebookFigures(
        num_frames=int(counts[1].sum()),
        num_codes=int((counts[1] > 0).sum()),
        accuracy=stats.get(f"correct_m_{number}", 0.0),
        cross_entropy=stats.get(f"loss_m_{number}", 0.0),
        baseline=float(shares[1].max()),
        entropy=float(entropies[1]),
        predicted_perplexity=float(entropies[0].exp()),
        target_perplexity=float(entropies[1].exp()),
    )


def _meter(group: str, key: str, what: str) -> Optional[float]:
    meter = metrics.get_meter(group, key)
    value = None if meter is None else getattr(meter, what)
    return None if value is None else float(value)


def _say(alarms: List[Alarm]) -> None:
    if distributed_utils.get_global_rank() == 0:
        for alarm in alarms:
            logger.log(logging.INFO if alarm.over else logging.WARNING, alarm.line())
