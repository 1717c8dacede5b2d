"""Noise mixup in the model: training hears the mixed wave; targets, features and evaluation stay clean."""

import pytest
import torch
from test_golden import TaskSettings, tiny_config

from mert_fairseq.models.mert import MERTModel
from mert_fairseq.models.mert.noise_mixup import noise_mixup

SOURCE = torch.randn(2, 36000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TARGETS = [torch.full((2, 112), 4)]
MASK = torch.arange(112).expand(2, -1) % 10 < 5


class Model(MERTModel):
    """Remembers the waves given to the convolution stack and to the CQT."""

    def __init__(self, **changes):
        torch.manual_seed(0)
        super().__init__(tiny_config(encoder_layers=1, mixture_prob=1.0, **changes), TaskSettings, [8])
        self.heard, self.analysed = [], []
        transform = self.encoder_cqt_model.transform
        transform.register_forward_pre_hook(lambda module, args: self.analysed.append(args[0]))

    def forward_features(self, source):
        self.heard.append(source)
        return super().forward_features(source)


def test_training_hears_the_mixed_wave():
    model = Model().train()
    model.set_num_updates(3)
    model(SOURCE, TARGETS, mask_indices=MASK, ids=torch.tensor([5, 6]))
    mixed = noise_mixup(SOURCE, model.cfg, torch.tensor([5, 6]), 3)
    assert not mixed.equal(SOURCE) and model.heard[0].equal(mixed.float())


def test_cqt_target_comes_from_the_clean_wave():
    model = Model().train()
    model(SOURCE, TARGETS, mask_indices=MASK)
    assert not model.heard[0].equal(SOURCE.float()) and model.analysed[0].equal(SOURCE.float())


def test_evaluation_never_mixes():
    model = Model().eval()
    model(SOURCE, TARGETS, mask_indices=MASK)
    assert model.heard[0].equal(SOURCE.float())


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_features_never_mix(training, mask):
    model = Model().train(training)
    model.extract_features(SOURCE, mask=mask)
    assert model.heard[0].equal(SOURCE.float())
