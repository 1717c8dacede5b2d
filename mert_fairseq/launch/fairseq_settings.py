"""fairseq's own settings, held against what they may have before anything is built."""

import math
from pathlib import Path
from typing import Any

from mert_fairseq.errors import MertError
from mert_fairseq.launch.optimizer_settings import check_optimizer
from mert_fairseq.setting_ranges import COUNT, SEED, SIZE, WEIGHT, Range, check_ranges

AT_LEAST_ONE = Range(1, 10**12)
RANGES = {
    "common": {"seed": SEED, "log_interval": AT_LEAST_ONE},  # fairseq seeds numpy before it builds anything
    "dataset": {
        "num_workers": COUNT,
        "required_batch_size_multiple": SIZE,
        **dict.fromkeys(("max_tokens", "batch_size", "max_tokens_valid", "batch_size_valid", "validate_interval"), AT_LEAST_ONE),
    },
    "optimization": {"update_freq": AT_LEAST_ONE, "lr": WEIGHT, "max_update": COUNT, "clip_norm": Range(0, math.inf)},  # 0: without
    "checkpoint": {"save_interval": AT_LEAST_ONE},
    "distributed_training": {"distributed_port": Range(-1, 65535)},  # not above 0: a free one
}


def check_fairseq_settings(cfg: Any) -> None:
    """Raises MertError for the first setting that cannot work."""
    for part, ranges in RANGES.items():
        check_ranges(part, getattr(cfg, part), ranges)
    for name in ("update_freq", "lr"):
        if not getattr(cfg.optimization, name):
            raise MertError(f"optimization.{name}=[]: one number for each epoch needed, the last one for those behind it too")
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        raise MertError("dataset.max_tokens=null, dataset.batch_size=null: one of them needed; set dataset.max_tokens, samples of a batch")
    if cfg.checkpoint.write_checkpoints_asynchronously:
        raise MertError(
            "checkpoint.write_checkpoints_asynchronously=true: a checkpoint would have its name before it is whole; set it to false"
        )
    check_optimizer(cfg)
    _check_places(cfg)


def _check_places(cfg: Any) -> None:
    """Files and folders that fairseq opens with a traceback."""
    if not cfg.checkpoint.save_dir:
        raise MertError(f"checkpoint.save_dir={cfg.checkpoint.save_dir}: a folder needed; leave it out for RUN_DIR/checkpoints")
    quantization = cfg.common.quantization_config_path
    if quantization is not None and not Path(quantization).is_file():
        raise MertError(f"common.quantization_config_path={quantization}: no such file; leave it out to train without quantization")
    if cfg.common.log_file is not None:
        try:
            with open(cfg.common.log_file, "a", encoding="utf-8"):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise MertError(f"common.log_file={cfg.common.log_file}: cannot be written ({reason}); give another, or leave it out") from None


def check_manifests(cfg: Any) -> None:
    """Refuses a task.data that is no folder; fairseq looks into it with a traceback, after it has built the model.

    Raises:
        MertError: with the command that makes the folder.
    """
    data = getattr(cfg.task, "data", None)
    if data is None or Path(data).is_dir():
        return
    if Path(data).exists():
        raise MertError(f"task.data={data}: a file; the folder of train.tsv and valid.tsv wanted: task.data={Path(data).parent}")
    raise MertError(f"task.data={data}: no such folder; make it with `mert manifest AUDIO_DIR {data}`")
