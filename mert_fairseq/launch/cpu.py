"""What fairseq needs to train in several processes without CUDA; not touched where there is a GPU to train on."""

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.models import distributed_fairseq_model


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
