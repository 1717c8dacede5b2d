"""Heads learn what features say and nothing else, the same way whatever is trained beside them, and keep their best epoch."""

import numpy as np
import pytest
import torch
from made_up_task import QUICK, RATE, TELLING, make_beats, make_windows, weights

from mert_fairseq.errors import MertError
from mert_fairseq.probe.beat_examples import BeatData, BeatSettings
from mert_fairseq.probe.head_training import train_head
from mert_fairseq.probe.heads import Head, LayerSum
from mert_fairseq.probe.metrics import score
from mert_fairseq.probe.task import HeadSettings

#: What an untrained guess scores, and what the made-up task must give.
CHANCE = {"classes": 1 / 3, "tags": 0.5, "values": 0.0}
SOLVED = {"classes": 0.95, "tags": 0.95, "values": 0.8}


def test_score_of(data, layer, rate=RATE, seed=1):
    examples = data.of_layer(layer)
    trained = train_head(examples, data.task.head, rate, seed)
    decision = examples.validate(trained.head)[1]
    estimate = examples.estimate(trained.head, "test", decision)
    return score(data.task.monitor, data.reference("test"), estimate, data.classes)


test_score_of.__test__ = False


@pytest.mark.parametrize("kind", ["classes", "tags", "values"])
def test_each_kind_is_learned_where_features_tell_it(kind):
    data = make_windows(kind)
    assert test_score_of(data, TELLING) > SOLVED[kind]
    assert test_score_of(data, None) > SOLVED[kind]  # the sum finds the layer that tells
    assert test_score_of(data, 0) < CHANCE[kind] + 0.3


@pytest.mark.parametrize("kind", ["classes", "tags", "values"])
def test_labels_of_other_items_are_not(kind):
    scores = [test_score_of(make_windows(kind, shuffled=True, seed=seed), TELLING) for seed in (1, 2, 3)]
    assert np.mean(scores) < CHANCE[kind] + 0.12


def test_beats_are_learned():
    task, items, frames = make_beats()
    data = BeatData(task, items, frames, BeatSettings(crop_s=4.0, frames_per_crop=200))
    for layer, solved in ((TELLING, True), (None, True), (0, False)):
        examples = data.of_layer(layer)
        trained = train_head(examples, task.head, 1e-2, 1)
        counts = examples.estimate(trained.head, "test", "tracked")
        found = score("f_measure", data.reference("test"), counts, ())
        assert found > 0.95 if solved else found < 0.75


def test_targets_beside_a_beat_are_those_asked_for():
    task, items, frames = make_beats()
    for targets, beside in (("hard", {0, 1}), ("soft", {0, 0.5, 0.95, 1})):
        data = BeatData(task, items, frames, BeatSettings(targets=targets))
        assert set(np.concatenate(data.targets).tolist()) == {float(np.float32(value)) for value in beside}


def test_weights_of_layers_start_as_a_softmax_of_noise_and_sum_to_one():
    torch.manual_seed(0)
    layers = LayerSum(50)
    assert 0.6 < layers.logits.std() < 1.4 and abs(layers.logits.mean()) < 0.5
    assert torch.allclose(layers(torch.ones(2, 3, 50, 4)), torch.ones(2, 3, 4))
    with torch.no_grad():
        layers.logits.copy_(torch.arange(50).float() * 100)  # all the weight on the last
    states = torch.randn(3, 50, 4)
    assert torch.allclose(layers(states), states[:, -1])


def test_the_head_is_the_published_one():
    head = Head(768, 10, num_summed=12)
    shapes = {name: tuple(parameter.shape) for name, parameter in head.named_parameters()}
    assert shapes == {
        "layer_sum.logits": (12,), "mlp.0.weight": (512, 768), "mlp.0.bias": (512,), "mlp.3.weight": (10, 512), "mlp.3.bias": (10,),
    }  # fmt: skip
    assert isinstance(head.mlp[1], torch.nn.ReLU) and head.mlp[2].p == 0.2


def test_the_sum_leaves_the_transformers_input_out():
    data = make_windows("classes", telling=0)
    assert test_score_of(data, 0) > 0.95
    assert test_score_of(data, None) < 0.7


def test_a_head_comes_out_the_same_alone_and_after_others():
    alone = train_head(make_windows("classes").of_layer(TELLING), QUICK, RATE, 7)
    data = make_windows("classes")
    train_head(data.of_layer(None), QUICK, 1e-2, 3)
    torch.rand(5)
    again = train_head(data.of_layer(TELLING), QUICK, RATE, 7)
    assert torch.equal(weights(alone), weights(again)) and alone.judged == again.judged
    other = train_head(data.of_layer(TELLING), QUICK, RATE, 8)
    assert not torch.equal(weights(alone), weights(other))


def test_training_leaves_torchs_random_state_alone():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    train_head(make_windows("classes").of_layer(0), HeadSettings(epochs=1, hidden=8), RATE, 1)
    assert torch.equal(torch.rand(2), wanted)


class Scripted:
    """Examples whose judge reads a script; one weightless example per epoch."""

    def __init__(self, judged):
        self.judged, self.epochs, self.states = iter(judged), 0, []
        self.dim, self.outputs, self.num_summed, self.device = 2, 1, None, torch.device("cpu")

    def batches(self, size, order):
        yield torch.ones(1, 2), torch.ones(1, 1)

    def loss(self, outputs, targets):
        return ((outputs - targets) ** 2).mean()

    def judge(self, head):
        self.states.append({name: tensor.clone() for name, tensor in head.state_dict().items()})
        return next(self.judged)


def test_the_best_epoch_is_kept_and_patience_ends_training():
    examples = Scripted([0.1, 0.5, 0.3, 0.5, 0.4, 0.2, 0.9])
    trained = train_head(examples, HeadSettings(epochs=50, patience=4, plateau=50, hidden=4), 1e-2, 1)
    assert (trained.judged, trained.epoch, trained.epochs) == (0.5, 2, 6)  # an equal one is no better
    assert all(torch.equal(tensor, examples.states[1][name]) for name, tensor in trained.head.state_dict().items())
    assert not trained.head.training


def test_outputs_that_are_not_finite_end_training():
    trained = train_head(Scripted([0.2, -np.inf, 0.9]), HeadSettings(epochs=50, hidden=4), 1e-2, 1)
    assert (trained.judged, trained.epochs) == (0.2, 2)


def test_the_rate_is_halved_on_a_plateau():
    """Adam's step on a constant slope is the rate: its size shows the halving."""

    class Slope(Scripted):
        def loss(self, outputs, targets):
            return outputs.mean()

    examples = Slope([0.5] * 12)
    train_head(examples, HeadSettings(epochs=12, patience=50, plateau=3, hidden=4, dropout=0.0), 1e-2, 1)
    bias = torch.stack([state["mlp.3.bias"][0] for state in examples.states])
    steps = (bias[:-1] - bias[1:]) / 1e-2
    assert torch.allclose(steps, torch.tensor([1.0] * 4 + [0.5] * 4 + [0.25] * 3), atol=1e-3)


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(MertError, match="rate 0: 1|rate 0, epochs"):
        train_head(make_windows("classes").of_layer(0), QUICK, 0, 1)
