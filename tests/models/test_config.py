"""Settings of the model: the convolution stack's two spellings, what cannot work is refused, and layer drop follows from the seed."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from test_golden import TaskSettings

from mert_fairseq.errors import MertError
from mert_fairseq.frames import CONV_LAYERS
from mert_fairseq.models.mert import MERTConfig, MERTModel
from mert_fairseq.models.mert.config import conv_layers_of

PUBLISHED_STACK = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
SEVEN = [(512, 10, 5), (512, 3, 2), (512, 3, 2), (512, 3, 2), (512, 3, 2), (512, 2, 2), (512, 2, 2)]


@pytest.mark.parametrize(
    "spec, wanted",
    [
        (PUBLISHED_STACK, SEVEN),
        ("[(512, 10, 5)]+[(512,3,2)]*4+2*[(512,2,2)]", SEVEN),
        (str(SEVEN), SEVEN),
        (str([list(layer) for layer in SEVEN]), SEVEN),
        (SEVEN, SEVEN),
        ([list(layer) for layer in SEVEN], SEVEN),
        (OmegaConf.create([list(layer) for layer in SEVEN]), SEVEN),
        (CONV_LAYERS, SEVEN),
        ([[1, 1, 1]], [(1, 1, 1)]),
        ("([(8, 4, 2)] + [(16, 3, 1)]) * 2", [(8, 4, 2), (16, 3, 1), (8, 4, 2), (16, 3, 1)]),
    ],
)
def test_convolution_stack_as_a_list_or_as_the_published_string(spec, wanted):
    layers = conv_layers_of(spec)
    assert layers == wanted and all(type(layer) is tuple for layer in layers)


@pytest.mark.parametrize(
    "spec",
    [
        "__import__('os')",
        "__import__('os').system('echo harm')",
        "[(512,10,5)] + [(open('/etc/passwd'),3,2)]",
        "[(512,10,5) for _ in range(2)]",
        "[(n := 512, 10, 5)]",
        "lambda: [(512,10,5)]",
        "CONV_LAYERS",
        "[(512,10,5)] ** 2",
        "[(2 ** 9, 10, 5)]",
        "[(512,10,5)] - [(512,10,5)]",
        "[(512,10,5)] + (512,3,2)",
        "[(512,10,5)",
        "-" * 5000 + "1",
        "",
        "5",
        5,
        None,
        "[]",
        [],
        "[(512,10,5)] * 0",
        "[(1, 1, 1)] * 1000000000000",
        "[(1, 1, 1)] * 200000",
        "9999999999 * ([(1, 1, 1)] * 50)",
        "[(1, 1, 1)] * 90 * 90 * 90 * 90 * 90",
        "[(512,10)]",
        [[512, 10, 5, 1]],
        [[512, 10, 0]],
        [[-512, 10, 5]],
        [[512.5, 10, 5]],
        "[(512, 10.5, 5)]",
        [[512, 10, True]],
        [["512", "10", "5"]],
        "['123']",
        "512,10,5",
    ],
)
def test_anything_else_is_refused(spec):
    with pytest.raises(MertError) as refusal:
        conv_layers_of(spec)
    assert f"model.conv_feature_layers={spec!r}" in str(refusal.value)
    assert "a list of [channels, kernel, stride] with positive integers" in str(refusal.value)


def test_code_in_the_stack_is_not_run(tmp_path):
    with pytest.raises(MertError):
        conv_layers_of(f"open({str(tmp_path / 'made')!r}, 'w')")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("bins", [0, 6])
def test_cqt_bins_that_make_no_octaves_are_refused(bins):
    with pytest.raises(MertError, match="must be above 0"):
        MERTModel(MERTConfig(label_rate=75.0, seed=1, audio_cqt_bins=bins, encoder_layers=1), TaskSettings, [8])


def test_targets_at_another_rate_than_the_stack_are_refused():
    with pytest.raises(MertError, match="targets at 50.0 Hz, the convolution stack gives 75.0 frames per second"):
        MERTModel(MERTConfig(label_rate=50.0, seed=1, encoder_layers=1), TaskSettings, [8])


@pytest.mark.parametrize("stored", [torch.zeros(2, 73, 336), torch.zeros(2, 75, 84)])
def test_stored_cqt_of_too_few_frames_or_other_bins_is_refused(stored):
    layers = [[16, *layer[1:]] for layer in SEVEN]
    sizes = {"encoder_embed_dim": 16, "encoder_layers": 1, "encoder_attention_heads": 4, "conv_pos_groups": 4}
    cfg = MERTConfig(label_rate=75.0, seed=1, conv_feature_layers=layers, mixture_prob=0.0, **sizes)
    model = MERTModel(cfg, TaskSettings, [8])
    source, targets = torch.randn(2, 24000), [torch.full((2, 75), 4)]
    assert float(model(source, targets, cqt_targets=torch.zeros(2, 74, 336).half())["cqt_mse_m"]) >= 0
    with pytest.raises(MertError, match=f"CQT targets have {73 if stored.shape[2] == 336 else 84} "):
        model(source, targets, cqt_targets=stored)


def test_layer_drop_follows_from_seed_and_update():
    """fairseq draws it from numpy's global state; here the same update drops the same layers, and that state is left alone."""
    layers = [[16, *layer[1:]] for layer in SEVEN]
    sizes = {"encoder_embed_dim": 16, "encoder_layers": 8, "encoder_attention_heads": 4, "conv_pos_groups": 4}
    cfg = MERTConfig(label_rate=75.0, seed=1, conv_feature_layers=layers, encoder_layerdrop=0.5, **sizes)
    model, run = MERTModel(cfg, TaskSettings, [8]).train(), []
    for number, layer in enumerate(model.encoder.layers):
        layer.register_forward_hook(lambda module, args, result, number=number: run.append(number))

    def layers_run(update, seed=1):
        run.clear()
        cfg.seed = seed
        model.set_num_updates(update)
        model.extract_features(torch.zeros(1, 4000))
        return tuple(run)

    np.random.seed(7)
    state = np.random.get_state()[1].copy()
    first = [layers_run(update) for update in range(20)]
    np.random.seed(8)
    assert [layers_run(update) for update in range(20)] == first
    assert [layers_run(update, seed=2) for update in range(20)] != first
    assert len(set(first)) > 10 and 0.3 < sum(map(len, first)) / 160 < 0.7
    np.random.seed(7)
    layers_run(0)
    assert (np.random.get_state()[1] == state).all()
    model.eval()
    assert layers_run(0) == tuple(range(8))
