"""Tasks registered with fairseq."""

from mert_fairseq.tasks.mert_pretraining import MERTPretrainingConfig, MERTPretrainingTask

__all__ = ["MERTPretrainingConfig", "MERTPretrainingTask"]
