"""Windows are examples with their item's label, and what does not fit is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_task import QUICK, RATE, TELLING, hear_data, make_data, make_task, make_windows, weights

from mert_fairseq.errors import MertError
from mert_fairseq.probe.head_training import train_head
from mert_fairseq.probe.heads import Head
from mert_fairseq.probe.window_examples import WindowData


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
    examples = WindowData(task, data, heard).of_layer(TELLING)
    found = examples.estimate(train_head(examples, task.head, RATE, 1).head, "test", "mean").argmax(1)
    assert (found == [item.label for item in data.items if item.split == "test"]).mean() > 0.95
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
