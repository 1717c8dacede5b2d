"""Tasks registered with fairseq."""

from mert_fairseq.tasks.config import MERTPretrainingConfig
from mert_fairseq.tasks.mert_pretraining import MERTPretrainingTask

__all__ = ["MERTPretrainingConfig", "MERTPretrainingTask"]
