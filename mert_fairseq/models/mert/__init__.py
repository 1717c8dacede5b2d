"""The MERT model: HuBERT's encoder over music with code and CQT prediction."""

from mert_fairseq.models.mert.config import MERTConfig
from mert_fairseq.models.mert.model import MERTModel

__all__ = ["MERTConfig", "MERTModel"]
