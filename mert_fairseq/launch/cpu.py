"""What fairseq needs to train without CUDA, in several processes too; not touched where there is a GPU to train on."""

import logging

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.models import distributed_fairseq_model

logger = logging.getLogger(__name__)

#: fairseq computes these on CUDA alone; the second goes with the first, and so do Adam's statistics in half precision.
HALF_PRECISION = (("common", "fp16"), ("common", "memory_efficient_fp16"), ("optimizer", "fp16_adam_stats"))


class CPUDistributedDataParallel(torch.nn.parallel.DistributedDataParallel):
    """torch's, which fairseq gives the number of a GPU that is not there."""

    def __init__(self, *args, device_ids=None, output_device=None, **options):
        super().__init__(*args, **options)


def prepare_cpu(cfg) -> None:
    """Makes fairseq's collectives work on the CPU.

    Args:
        cfg: fairseq's whole configuration; its backend becomes gloo.
    """
    cfg.distributed_training.distributed_backend = "gloo"
    size = cfg.common.all_gather_list_size
    # fairseq allocates these on a GPU unless they are there.
    distributed_utils.all_gather_list._buffer = torch.zeros(size * cfg.distributed_training.distributed_world_size, dtype=torch.uint8)
    distributed_utils.all_gather_list._cpu_buffer = torch.zeros(size, dtype=torch.uint8)
    distributed_fairseq_model.DistributedDataParallel = CPUDistributedDataParallel


def without_half_precision(cfg) -> None:
    """Switches fairseq's half precision off and says so, once; the model's autocast stays as it is.

    Args:
        cfg: fairseq's whole configuration.
    """
    settings = [(getattr(cfg, part, None), part, name) for part, name in HALF_PRECISION]
    asked = [(group, part, name) for group, part, name in settings if getattr(group, name, False)]
    for group, _, name in asked:
        group[name] = False
    if asked:
        _, part, name = asked[0]
        logger.warning(f"{part}.{name}=true: half precision is for a GPU and switched off; {part}.{name}=false says that this is meant")
