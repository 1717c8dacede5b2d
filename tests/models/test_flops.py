"""The counted arithmetic of a step against torch's own counter."""

import pytest
import torch
from test_golden import TaskSettings, tiny_config
from torch.utils.flop_counter import FlopCounterMode

from mert_fairseq.criterions import MERTCriterion
from mert_fairseq.frames import num_conv_frames
from mert_fairseq.models.mert import MERTModel
from mert_fairseq.models.mert.flops import training_flops

SIZES = [60, 28]


@pytest.mark.parametrize("changes", [{}, {"feature_grad_mult": 0.0}, {"untie_final_proj": False}, {"audio_cqt_loss_m": False}])
def test_counts_what_torch_counts(changes):
    """To 2 %: torch also sees the rows at a clip's end that are cut off, and not the Fourier transforms."""
    torch.manual_seed(0)
    # One group: so wide that the position convolution is a direct one; torch counts its weight's gradient once per group.
    config = tiny_config(conv_pos_groups=1, **{"feature_grad_mult": 1.0, **changes})
    model = MERTModel(config, TaskSettings, SIZES).train()
    source = torch.randn(2, 36_000)
    targets = [torch.randint(4, size + 4, (2, 112)) for size in SIZES]
    spectra = torch.rand(2, 113, config.audio_cqt_bins)
    sample = {"id": torch.arange(2), "target_list": targets, "net_input": {"source": source, "cqt_targets": spectra, "ids": [0, 1]}}
    criterion = MERTCriterion(None, 1.0, 0.0)
    onednn = {torch.ops.mkldnn._linear_pointwise: lambda x, weight, *_, **__: 2 * x[0] * x[1] * weight[0]}
    with FlopCounterMode(display=False, custom_mapping=onednn) as counter:
        loss, _, logged = criterion(model, sample)
        loss.backward()
    channels, kernel, _ = model.conv_layers[0]
    backward = config.feature_grad_mult > 0  # which computes the first convolution's output again
    again = 2 * backward * 2 * num_conv_frames(36_000, model.conv_layers[:1]) * channels * kernel
    assert logged["flops"] == pytest.approx(counter.get_total_flops() - again, rel=0.02)
    assert logged["num_samples"] == 72_000


def test_a_published_step():
    """95M, 2 x 5 s: 656 GFLOP, as measured once with torch's counter on the published implementation's method."""
    from mert_fairseq.frames import CONV_LAYERS
    from mert_fairseq.models.mert import MERTConfig

    found = training_flops(MERTConfig(encoder_layerdrop=0.0), CONV_LAYERS, [1028] * 8, (2, 120_000), 420)
    assert found == pytest.approx(656e9, rel=0.03)
