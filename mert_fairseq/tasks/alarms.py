"""Alarms of training: what deserves a look is said once when it begins, and once when it is over.

A rule answers True (raise), False (over) or None (leave as it is), so that a figure near a bound does not ring again and again.
"""

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from mert_fairseq.tasks.alarm_line import Alarm

COLLAPSED = "collapsed_predictions"
LEARNED_NOTHING = "accuracy_below_most_frequent_code"
LOSS_SCALE = "loss_scale_collapse"
FEATURES = "feature_norm_blow_up"
ADVICE = {
    COLLAPSED: "one code or two are predicted whatever is heard: see `mert labels stats` for the codebook, lower optimization.lr or "
    "lengthen lr_scheduler.warmup_updates",
    LEARNED_NOTHING: "always guessing the most frequent code would do as well: see that targets belong to the audio (`mert labels check`), "
    "lower optimization.lr, or train longer",
    LOSS_SCALE: "small gradients are lost in half precision, and training stops at common.min_loss_scale: take bfloat16 "
    "(common.fp16=false model.autocast=bf16) or lower optimization.lr",
    FEATURES: "training is about to diverge: lower optimization.lr or optimization.clip_norm, or raise criterion.features_pen_weight",
}
#: Checks in a row that must agree. Validations are far apart and the first after warm-up can be early in a healthy run.
PATIENCE = {COLLAPSED: 2, LEARNED_NOTHING: 2, LOSS_SCALE: 1, FEATURES: 1}

PREDICTED_LOW, PREDICTED_FINE = 2.0, 3.0  # perplexity of predictions; of eight codebooks of mert_tiny 6 to 12 after 500 updates
TARGETS_VARIED = 10.0  # perplexity of targets, below which one or two predicted codes may be right
ROUNDING = 1e-5  # of accuracies as they are logged: who always guesses the most frequent code has its share
FRAMES_PER_CODE = 5  # frames that each code met must have on average, or the figures say little
SCALE_LOW, SCALE_FINE = 0.125, 1.0  # of the loss in half precision; fairseq begins with 128
BLOWN_UP, SETTLED = 30.0, 15.0  # mean square of the convolution features, times the run's lowest; healthy runs were seen to reach 7

TRAINING = "training"  # the subject of an alarm that is of no codebook


@dataclass(frozen=True)
class CodebookFigures:
    """One codebook on the masked frames of a validation.

    Attributes:
        num_frames: M.
        num_codes: codes that occur among the targets.
        accuracy, cross_entropy: of the model; nats.
        baseline, entropy: share of the targets' most frequent code, and nats of their distribution: what a constant guess reaches.
        predicted_perplexity, target_perplexity: number of codes that would give the entropy if used alike.
    """

    num_frames: int
    num_codes: int
    accuracy: float
    cross_entropy: float
    baseline: float
    entropy: float
    predicted_perplexity: float
    target_perplexity: float

    @property
    def tells(self) -> bool:
        """Whether there are frames enough."""
        return self.num_frames >= FRAMES_PER_CODE * self.num_codes


def predictions_collapsed(figures: CodebookFigures) -> Optional[bool]:
    """One code or two, where the teacher uses many."""
    if not figures.tells:
        return None
    if figures.target_perplexity < TARGETS_VARIED or figures.predicted_perplexity > PREDICTED_FINE:
        return False
    return True if figures.predicted_perplexity < PREDICTED_LOW else None


def learned_nothing(figures: CodebookFigures) -> Optional[bool]:
    """No more hits than the most frequent code has, and no better probabilities than the codes' frequencies.

    Hits alone would not do: of a codebook that is hard to predict a healthy model has fewer, long after its probabilities are better.
    """
    if not figures.tells:
        return None
    return figures.accuracy <= figures.baseline + ROUNDING and figures.cross_entropy >= figures.entropy


def between(value: float, raised: bool, fine: bool) -> Optional[bool]:
    """True or False by either bound; a value that is no number raises."""
    return True if raised or math.isnan(value) else (False if fine else None)


class Alarms:
    """What is on, and what was seen so far; both are kept in checkpoints, so that a resumed run says nothing twice.

    Args:
        state: the task's `StatefulContainer`.
        codebooks_from: update from which validations are judged.
    """

    def __init__(self, state: Any, codebooks_from: int = 0) -> None:
        self._state, self._from = state, codebooks_from
        state.add_factory("alarms", lambda: {"on": [], "in_a_row": {}, "lowest_features": None, "lr": None, "warmed_up": False})

    def after_update(
        self, update: int, lr: Optional[float], features_pen: Optional[float], loss_scale: Optional[float] = None
    ) -> List[Alarm]:
        """Looks at an update's figures; None: not logged.

        Args:
            lr: learning rate; the warm-up is over once it no longer rises.
            features_pen: mean square of the convolution features.
            loss_scale: of half precision.
        """
        found: List[Alarm] = []
        if lr is not None:
            before, self._seen["lr"] = self._seen["lr"], lr
            self._seen["warmed_up"] |= before is not None and lr <= before
        if loss_scale is not None:
            deserved = between(loss_scale, loss_scale <= SCALE_LOW, loss_scale >= SCALE_FINE)
            found += self._tell(update, LOSS_SCALE, {TRAINING: (deserved, f"{loss_scale:g}")}, "loss scale {}")
        if features_pen is not None:
            found += self._judge_features(update, features_pen)
        return found

    def _judge_features(self, update: int, features_pen: float) -> List[Alarm]:
        lowest = features_pen if self._seen["lowest_features"] is None else min(features_pen, self._seen["lowest_features"])
        deserved = between(features_pen, features_pen >= BLOWN_UP * lowest > 0, features_pen < SETTLED * lowest)
        if not math.isnan(lowest):
            self._seen["lowest_features"] = lowest
        said = f"mean square of the convolution features {{}}, its lowest was {lowest:.4g}"
        return self._tell(update, FEATURES, {TRAINING: (deserved, f"{features_pen:.4g}")}, said)

    def after_validation(self, update: int, codebooks: Sequence[CodebookFigures]) -> List[Alarm]:
        """Looks at each codebook once the warm-up is over and the run is no longer young."""
        if not self._seen["warmed_up"] or update < self._from or not codebooks:
            return []
        named = {f"codebook {number}": figures for number, figures in enumerate(codebooks)}
        collapsed = {
            name: (predictions_collapsed(figures), f"{figures.predicted_perplexity:.2f} ({figures.target_perplexity:.0f})")
            for name, figures in named.items()
        }
        nothing = {
            name: (learned_nothing(figures), f"{100 * figures.accuracy:.2f} % ({100 * figures.baseline:.2f} %)")
            for name, figures in named.items()
        }
        return [
            *self._tell(update, COLLAPSED, collapsed, "perplexity of predictions (of their targets) {}"),
            *self._tell(update, LEARNED_NOTHING, nothing, "masked accuracy (always guessing the most frequent code) {}"),
        ]

    def _tell(self, update: int, name: str, judged: Dict[str, Tuple[Optional[bool], str]], said: str) -> List[Alarm]:
        """Alarms of one kind that begin or are over; `judged` gives each subject's answer and figures, which `said` takes up."""
        begun: Dict[str, str] = {}
        over: List[str] = []
        for subject, (deserved, figures) in judged.items():
            key = f"{name} ({subject})"
            in_a_row = self._seen["in_a_row"].get(key, 0) + 1 if deserved else 0
            self._seen["in_a_row"][key] = in_a_row
            if deserved and in_a_row >= PATIENCE[name] and key not in self._seen["on"]:
                self._seen["on"].append(key)
                begun[subject] = figures
            elif deserved is False and key in self._seen["on"]:
                self._seen["on"].remove(key)
                over.append(subject)
        found = [Alarm(update, name, tuple(over), over=True)] if over else []
        if begun:
            found.append(Alarm(update, name, tuple(begun), f"{said.format(', '.join(begun.values()))}; {ADVICE[name]}"))
        return found

    @property
    def _seen(self) -> Dict[str, Any]:
        return self._state.alarms
