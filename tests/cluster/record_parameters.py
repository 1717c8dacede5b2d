"""A Hydra callback that writes every process's parameters after every update.

Put to use by `+hydra.callbacks.record._target_=record_parameters.Record`.
"""

import os
from pathlib import Path

import numpy as np
import torch
from hydra.experimental.callback import Callback

FOLDER = "RECORD_PARAMETERS"  # environment variable: where the files go


class Record(Callback):
    def on_job_start(self, config, **kwargs) -> None:
        from fairseq.distributed import utils as distributed_utils
        from fairseq.trainer import Trainer

        step = Trainer.train_step

        def train_step(self, *args, **options):
            result = step(self, *args, **options)
            flat = torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])
            rank = distributed_utils.get_global_rank()
            np.save(parameters_file(os.environ[FOLDER], rank, self.get_num_updates()), flat.float().numpy())
            return result

        Trainer.train_step = train_step


def parameters_file(folder, rank: int, update: int) -> Path:
    return Path(folder) / f"rank{rank}-update{update}.npy"
