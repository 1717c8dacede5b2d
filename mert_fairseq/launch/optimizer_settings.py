"""Settings of the optimizer and of the learning rate's schedule, held against what they may have before anything is built."""

import ast
from typing import Any

from omegaconf import OmegaConf

from mert_fairseq.errors import MertError
from mert_fairseq.setting_ranges import COUNT, WEIGHT, Range, check_ranges

SMALLEST = 2.0**-126  # of float32's normal numbers: Adam divides by eps where a gradient is 0
RANGES = {  # of those that have such a setting
    "optimizer": {"adam_eps": Range(SMALLEST, 1), "weight_decay": WEIGHT},
    "lr_scheduler": {"warmup_updates": COUNT, "end_learning_rate": WEIGHT, "power": WEIGHT},
}


def check_optimizer(cfg: Any) -> None:
    """Raises MertError for the first setting that cannot work.

    Args:
        cfg: fairseq's whole configuration.
    """
    for part, ranges in RANGES.items():
        settings = getattr(cfg, part, None)
        if settings is not None:
            check_ranges(part, settings, {name: allowed for name, allowed in ranges.items() if hasattr(settings, name)})
    if hasattr(getattr(cfg, "optimizer", None), "adam_betas"):
        _check_betas(cfg.optimizer.adam_betas)
    updates = getattr(getattr(cfg, "lr_scheduler", None), "total_num_update", None)
    if updates is not None and not updates > 0:
        raise MertError(
            f"optimization.max_update={cfg.optimization.max_update}, lr_scheduler.total_num_update={updates}: the learning rate is to "
            "fall over at least 1 update; set optimization.max_update"
        )


def _check_betas(betas: Any) -> None:
    """As a list, or in the text form that fairseq evaluates."""
    try:
        found = ast.literal_eval(betas) if isinstance(betas, str) else betas
    except (ValueError, SyntaxError):
        found = None
    if not (isinstance(found, (list, tuple)) or OmegaConf.is_list(found)) or len(found) != 2 or not all(_is_decay(beta) for beta in found):
        raise MertError(f"optimizer.adam_betas={betas}: two numbers from 0 to below 1 needed, as [0.9,0.98]")


def _is_decay(beta: Any) -> bool:
    return type(beta) in (int, float) and 0 <= beta < 1


def check_first_rate(rate: float, cfg: Any) -> None:
    """Refuses a least learning rate that ends training before its first update.

    Args:
        rate: at the start of a run; 0 with a warm-up.
        cfg: fairseq's whole configuration.

    Raises:
        MertError: fairseq would say "done training" and leave a run without a checkpoint.
    """
    least = cfg.optimization.stop_min_lr
    if not rate > least:
        raise MertError(
            f"optimization.stop_min_lr={least:g}: the learning rate starts at {rate:g}, not above it, and nothing would be trained; "
            "set it below, or leave it out"
        )
