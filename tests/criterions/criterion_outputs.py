"""Outputs of a model with round numbers, and the criterion over them."""

import torch
from fairseq.logging import metrics

from mert_fairseq.criterions import MERTCriterion
from mert_fairseq.models.mert.code_prediction import CodePrediction

SAMPLE = {"id": torch.tensor([3, 8]), "target_list": None, "net_input": {"source": torch.zeros(2, 6000)}}


def output(**changes):
    """A model's output with round numbers: 8 masked frames of 20, two codebooks."""
    values = {
        "codes_m": CodePrediction(torch.tensor([16.0, 40.0]), torch.tensor([2, 6]), 8),
        "codes_u": CodePrediction(torch.tensor([24.0, 60.0]), torch.tensor([3, 9]), 12),
        "cqt_mse_m": torch.tensor(0.5),
        "features_pen": torch.tensor(0.25),
        "num_masked": 8,
        "num_frames": 20,
        "flops": 7,
    }
    return {**values, **changes}


def criterion(masked=1.0, nomask=0.0, **weights):
    return MERTCriterion(None, masked, nomask, **weights)


def run(net_output, *args, **weights):
    return criterion(*args, **weights)(lambda **inputs: net_output, SAMPLE)


def logged(*steps):
    """Averages over the given steps, each a list of the workers' logs."""
    with metrics.aggregate(new_root=True) as meters:
        for logs in steps:
            MERTCriterion.reduce_metrics(logs)
    return {name: float(meters[name].avg) for name in meters}
