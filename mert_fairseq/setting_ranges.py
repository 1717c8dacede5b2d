"""What numbers settings may have, held against them before anything is built, read or written."""

import math
from typing import Any, Mapping, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from mert_fairseq.errors import MertError


class Range(NamedTuple):
    """From `least` to `most`, both allowed; `most` is not where `below` is set."""

    least: float
    most: float
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies within; one that is no number does not."""
        return self.least <= value < self.most if self.below else self.least <= value <= self.most

    def __str__(self) -> str:
        if math.isinf(self.most):
            return f"at least {self.least:g}"
        return f"{self.least:g} to {'below ' if self.below else ''}{self.most:g}"


PROBABILITY, DROPOUT = Range(0, 1), Range(0, 1, below=True)
COUNT, SIZE = Range(0, 10**9), Range(1, 1 << 16)
WEIGHT = Range(0, 1e9)
SEED = Range(0, 2**32, below=True)  # numpy's


def check_ranges(part: str, settings: Any, ranges: Mapping[str, Range]) -> None:
    """Raises MertError for the first setting of `part` (task, model) that is out of its range, or lists one such; None is no number."""
    for name, allowed in ranges.items():
        try:
            value = getattr(settings, name)
        except InterpolationKeyError:  # of a checkpoint that is opened without the run's other settings: nothing is trained with it
            continue
        numbers = value if OmegaConf.is_list(value) or isinstance(value, (list, tuple)) else [value]
        if any(isinstance(number, (int, float)) and not allowed.holds(number) for number in numbers):
            raise MertError(f"{part}.{name}={value}: {allowed} allowed")
