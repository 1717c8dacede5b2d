"""Criterions registered with fairseq."""

from mert_fairseq.criterions.mert import MERTCriterion, MERTCriterionConfig

__all__ = ["MERTCriterion", "MERTCriterionConfig"]
