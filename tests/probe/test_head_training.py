"""Heads learn what features say and nothing else, the same way whatever is trained beside them, and keep their best epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_task import QUICK, TELLING, hear_data, make_beats, make_data, make_task, make_windows

from mert_fairseq.errors import MertError
from mert_fairseq.probe.beat_examples import BeatData, BeatSettings
from mert_fairseq.probe.head_training import train_head
from mert_fairseq.probe.heads import Head, LayerSum
from mert_fairseq.probe.metrics import score
from mert_fairseq.probe.task import HeadSettings
from mert_fairseq.probe.window_examples import WindowData

RATE = 5e-3
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


def weights(trained):
    return torch.cat([parameter.flatten() for parameter in trained.head.parameters()])


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


def test_each_window_is_an_example_and_an_item_is_the_mean_of_its_windows():
    data = make_data("classes", 9)
    heard = hear_data("classes", data, windows_per_item=3)
    examples = WindowData(make_task("classes"), data, heard).of_layer(1)
    batches = list(examples.batches(4, np.random.default_rng(0)))
    assert sum(len(targets) for _, targets in batches) == 3 * 3 and [len(targets) for _, targets in batches] == [4, 4, 1]
    for features, targets in batches:
        for feature, target in zip(features.numpy(), targets):
            (window,) = np.flatnonzero((heard.rows[:, 1] == feature).all(1))
            assert data.items[heard.owner[window]].split == "train" and data.items[heard.owner[window]].label == target
    torch.manual_seed(0)
    head = Head(12, 3, hidden=8).eval()
    estimate = examples.estimate(head, "test", "mean")
    for row, place in enumerate(place for place, item in enumerate(data.items) if item.split == "test"):
        with torch.no_grad():
            windows = head(torch.from_numpy(heard.rows[heard.owner == place, 1]))
        assert np.allclose(estimate[row], windows.mean(0), atol=1e-6)


def test_values_are_given_back_in_their_own_unit():
    data = make_windows("values")
    examples = data.of_layer(TELLING)
    estimate = examples.estimate(train_head(examples, QUICK, RATE, 1).head, "test", "mean")
    assert abs(estimate.mean() - 50) < 3 and 1.5 < estimate.std() < 4.5


def test_features_too_many_for_memory_are_read_as_needed(monkeypatch):
    in_memory = train_head(make_windows("tags").of_layer(None), QUICK, RATE, 1)
    monkeypatch.setattr("mert_fairseq.probe.window_examples.MOST_LOADED", 0)
    from_disk = train_head(make_windows("tags").of_layer(None), QUICK, RATE, 1)
    assert torch.equal(weights(in_memory), weights(from_disk))


def test_standardized_features_have_the_training_windows_for_their_measure():
    data = make_data("classes")
    heard = hear_data("classes", data)
    heard.rows[:, :, 3] = 500  # constant
    heard.rows[:, :, 4] = 200 * heard.rows[:, :, 4] + 1000  # dwarfs the others
    task = make_task("classes", head=replace(QUICK, standardized=True))
    assert test_score_of(WindowData(task, data, heard), TELLING) > SOLVED["classes"]
    test = np.array([data.items[owner].split == "test" for owner in heard.owner])
    heard.rows[test, :, 5] += 7  # what the test windows are counts for nothing
    windows = WindowData(task, data, heard)
    for layer in (1, None):
        examples = windows.of_layer(layer)
        features = torch.cat([batch for batch, _ in examples.batches(50, np.random.default_rng(0))])
        deviation = torch.tensor([1.0, 1, 1, 0, *[1] * 8]).expand(features.shape[1:])
        assert torch.allclose(features.mean(0), torch.zeros(features.shape[1:]), atol=1e-4)
        assert torch.allclose(features.std(0, correction=0), deviation, atol=1e-3)


def replaced(data, place, **changes):
    items = list(data.items)
    items[place] = type(items[place])(**{**vars(items[place]), **changes})
    return type(data)(items, data.classes)


@pytest.mark.parametrize(
    "kind, label, message",
    [
        ("classes", 3, "label 3 of item4 does not fit 3 classes"),
        ("classes", -1, "label -1 of item4"),
        ("tags", np.array([0, 1]), r"label of shape \(2,\) of item4 does not fit 3 tags"),
        ("tags", np.array([0, 1, 0.5]), "item4 does not fit 3 tags"),
        ("values", np.array([0, np.nan, 1]), "item4 does not fit 3 values"),
    ],
)
def test_labels_that_do_not_fit_are_refused(kind, label, message):
    data = make_data(kind)
    with pytest.raises(MertError, match=message):
        WindowData(make_task(kind), replaced(data, 4, label=label), hear_data(kind, data))


def test_a_split_without_items_and_an_item_without_windows_are_refused():
    data = make_data("classes", 9)
    heard = hear_data("classes", data)
    moved = type(data)([type(item)(**{**vars(item), "split": item.split.replace("valid", "test")}) for item in data.items], data.classes)
    with pytest.raises(MertError, match="no items in valid"):
        WindowData(make_task("classes"), moved, heard)
    with pytest.raises(MertError, match="features of 9 items"):
        WindowData(make_task("classes"), type(data)(data.items[:6], data.classes), heard)
    kept = heard.owner != 5
    with pytest.raises(MertError, match="no features of item5"):
        WindowData(make_task("classes"), data, type(heard)(heard.rows[kept], np.arange(kept.sum()), heard.owner[kept]))
    with pytest.raises(MertError, match="layer 3: 0 to 2 are there"):
        make_windows("classes").of_layer(3)


def test_values_that_never_change_are_refused():
    data = make_data("values")
    constant = type(data)([type(item)(**{**vars(item), "label": item.label * [1, 0, 1]}) for item in data.items], data.classes)
    with pytest.raises(MertError, match="class1 is the same for all training items"):
        WindowData(make_task("values"), constant, hear_data("values", data))


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(MertError, match="rate 0: 1|rate 0, epochs"):
        train_head(make_windows("classes").of_layer(0), QUICK, 0, 1)
