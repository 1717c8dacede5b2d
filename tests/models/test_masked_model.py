"""Span masks in the model: drawn by update and clip, and what they hide is not seen."""

import pytest
import torch
from test_golden import TaskSettings, tiny_config
from test_masking import draw

from mert_fairseq.errors import MertError
from mert_fairseq.models.mert import MERTModel


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MERTModel(tiny_config(audio_cqt_loss_m=False, encoder_layers=1), TaskSettings, [8])


def code_losses(model, update, training, **options):
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(2, 24000, generator=generator)
    targets = [torch.randint(4, 12, (2, 75), generator=generator)]
    model.train(training).set_num_updates(update)
    with torch.no_grad():
        return model(source, targets, ids=torch.tensor([4, 9]), **options)["codes_m"].losses


def test_training_masks_change_with_the_update(model):
    assert code_losses(model, 1, True).equal(code_losses(model, 1, True))
    assert not code_losses(model, 1, True).equal(code_losses(model, 2, True))


def test_validation_masks_are_the_same_at_every_update(model):
    assert code_losses(model, 1, False).equal(code_losses(model, 2, False))


def test_the_model_masks_by_the_number_of_the_clip(model):
    mask = draw([4, 9], frames=74, update=7).indices
    assert code_losses(model, 7, True).equal(code_losses(model, 7, True, mask_indices=mask))
    assert not code_losses(model, 7, True).equal(code_losses(model, 7, True, mask_indices=mask.flip(0)))


def test_masked_frames_cannot_be_seen(model):
    """The encoder's input is the mask embedding there, whatever the wave; elsewhere it is the projected frame."""
    mask = torch.zeros(1, 74, dtype=torch.bool)
    mask[0, 20:30] = True
    inputs = []
    hook = model.encoder.register_forward_pre_hook(lambda module, args: inputs.append(args[0].clone()))
    with torch.no_grad():
        clean = model.eval().extract_features(torch.ones(1, 24000).cumsum(1).sin(), ret_conv=True)[0]
        model(torch.ones(1, 24000).cumsum(1).sin(), [torch.full((1, 75), 4)], mask_indices=mask)
    hook.remove()
    assert inputs[1][0, 20:30].equal(model.mask_emb.detach().expand(10, -1))
    assert inputs[1][~mask].equal(clean[~mask])


@pytest.mark.parametrize("change, options", [({"mask_prob": 0.0}, {}), ({}, {"mask": False})])
def test_a_loss_without_a_mask_is_refused(change, options):
    model = MERTModel(tiny_config(encoder_layers=1, **change), TaskSettings, [8])
    with pytest.raises(MertError, match="nothing is masked"):
        model(torch.zeros(1, 24000), [torch.full((1, 75), 4)], **options)
