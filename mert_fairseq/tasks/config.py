"""Settings of the task, and the refusal of those that cannot work."""

from dataclasses import dataclass, field
from typing import Any, List, Optional

from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig
from omegaconf import II

from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE, SAMPLE_RATE, receptive_field
from mert_fairseq.setting_ranges import COUNT, SEED, Range, check_ranges

RANGES = {
    "crops_per_file": Range(0, 10**6),
    **dict.fromkeys(("max_bad_files", "max_valid_crops", "alarms_from", "max_sample_size", "min_sample_size"), COUNT),
    "seed": SEED,
}


@dataclass
class MERTPretrainingConfig(HubertPretrainingConfig):
    """HuBERT's task settings with MERT's values, and what MERT adds."""

    labels: List[str] = field(
        default_factory=lambda: ["encodec"],
        metadata={"help": "names of the code stores LABEL_DIR/{split}.{name}; their codebooks are laid side by side"},
    )
    cqt_labels: Optional[str] = field(
        default=None, metadata={"help": "name of the CQT store; null: the CQT is computed from each crop as training runs (published)"}
    )
    label_rate: float = field(default=float(FRAME_RATE), metadata={"help": "frames of the targets per second"})
    sample_rate: int = field(default=SAMPLE_RATE, metadata={"help": "Hz; files at other rates are resampled on read"})
    max_sample_size: Optional[int] = field(default=120_000, metadata={"help": "longest crop, samples (5 s; 330M: 122,880)"})
    min_sample_size: Optional[int] = field(default=72_000, metadata={"help": "shorter files are left out, samples (3 s)"})
    crops_per_file: int = field(
        default=1, metadata={"help": "crops of each file per epoch; 0: as many as fit, an epoch hears about the whole corpus once"}
    )
    max_valid_crops: int = field(
        default=0, metadata={"help": "crops of a validation, a fixed sample of the held-out audio; 0: all (leave dataset.max_valid_steps "
                             "unset: a validation that is broken off leaves its loader processes behind)"}
    )
    max_bad_files: int = field(default=0, metadata={"help": "damaged files tolerated (counted and listed) before training stops"})
    alarms_from: int = field(
        default=500, metadata={"help": "update from which a validation's codes may raise an alarm: healthy runs begin with a code or two"}
    )
    accept_new_order: bool = field(
        default=False, metadata={"help": "resume although another number of processes changes the global batch and the order of samples"}
    )
    accept_new_data: bool = field(
        default=False, metadata={"help": "resume although the manifest's rows or the teachers of the targets are not the checkpoint's"}
    )
    seed: int = field(default=II("common.seed"), metadata={"help": "seed of crops and batches"})
    conv_feature_layers: Any = field(
        default=II("model.conv_feature_layers"), metadata={"help": "the model's convolution stack, for the number of frames"}
    )


def check_settings(cfg: MERTPretrainingConfig) -> None:
    """Numbers that cannot work, refused before anything is read."""
    if cfg.sample_rate != SAMPLE_RATE or cfg.label_rate != FRAME_RATE:
        raise MertError(
            f"task.sample_rate={cfg.sample_rate}, task.label_rate={cfg.label_rate}: only {SAMPLE_RATE} Hz and {FRAME_RATE} Hz are "
            "supported; files at other rates are resampled on read or by `mert manifest --convert DIR`"
        )
    if cfg.normalize:
        raise MertError("task.normalize=true: MERT's audio is not normalised; set task.normalize=false")
    if cfg.fine_tuning:
        raise MertError("task.fine_tuning=true: this task pre-trains; set task.fine_tuning=false")
    for name in [*cfg.labels, *([] if cfg.cqt_labels is None else [cfg.cqt_labels])]:
        if not name or "/" in name:
            raise MertError(f"task.labels={list(cfg.labels)}, task.cqt_labels={cfg.cqt_labels!r}: names of stores needed, without /")
    if len(set(cfg.labels)) < len(cfg.labels):
        raise MertError(f"task.labels={list(cfg.labels)}: a store named twice would be predicted twice; name each once")
    if not cfg.labels:
        raise MertError("task.labels is empty: name at least one code store, e.g. task.labels=[encodec]")
    least, most = cfg.min_sample_size, cfg.max_sample_size
    if least is None or most is None or not receptive_field() <= least <= most:
        raise MertError(f"need {receptive_field()} <= task.min_sample_size ({least}) <= task.max_sample_size ({most})")
    for name in ("crops_per_file", "max_bad_files", "max_valid_crops", "alarms_from"):
        if getattr(cfg, name) < 0:
            raise MertError(f"task.{name}={getattr(cfg, name)} must be >= 0")
    check_ranges("task", cfg, RANGES)
