"""MERT pre-training as a fairseq plugin.

    audio -> mert manifest -> {split}.tsv -> mert labels -> target store -> fairseq-hydra-train -> checkpoint -> mert report

Importing the package registers the task `mert_pretraining`, the model `mert` and the criterion `mert`, and lets fairseq load its
own checkpoints with torch's safe loader; fairseq does so when it is given this folder as common.user_dir.
"""

from mert_fairseq import host  # noqa: F401
from mert_fairseq.criterions import MERTCriterion
from mert_fairseq.models.mert import MERTModel
from mert_fairseq.tasks import MERTPretrainingTask

__all__ = ["MERTCriterion", "MERTModel", "MERTPretrainingTask"]
