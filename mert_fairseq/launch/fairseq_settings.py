"""fairseq's own settings, held against what they may have before anything is built."""

from typing import Any

from mert_fairseq.errors import MertError
from mert_fairseq.setting_ranges import COUNT, SEED, WEIGHT, Range, check_ranges

AT_LEAST_ONE = Range(1, 10**12)
RANGES = {
    "common": {"seed": SEED},  # fairseq seeds numpy before it builds anything
    "dataset": {
        "num_workers": COUNT,
        **dict.fromkeys(("max_tokens", "batch_size", "max_tokens_valid", "batch_size_valid"), AT_LEAST_ONE),
    },
    "optimization": {"update_freq": AT_LEAST_ONE, "lr": WEIGHT},
    "distributed_training": {"distributed_port": Range(-1, 65535)},  # not above 0: a free one
}


def check_fairseq_settings(cfg: Any) -> None:
    """Raises MertError for the first setting that cannot work."""
    for part, ranges in RANGES.items():
        check_ranges(part, getattr(cfg, part), ranges)
    for name in ("update_freq", "lr"):
        if not getattr(cfg.optimization, name):
            raise MertError(f"optimization.{name}=[]: one number for each epoch needed, the last one for those behind it too")
    if cfg.checkpoint.write_checkpoints_asynchronously:
        raise MertError(
            "checkpoint.write_checkpoints_asynchronously=true: a checkpoint would have its name before it is whole; set it to false"
        )
