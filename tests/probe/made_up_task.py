"""Tasks whose features say the label at one hidden state and nothing at the others."""

from pathlib import Path

import numpy as np
import torch

from mert_fairseq.probe.beat_scoring import beat_targets
from mert_fairseq.probe.features import HeardItems
from mert_fairseq.probe.items import BeatTimes, Item, TaskData
from mert_fairseq.probe.probing import GridSettings, probe_task
from mert_fairseq.probe.stored_frames import StoredFrames
from mert_fairseq.probe.task import Dataset, HeadSettings, Task
from mert_fairseq.probe.window_examples import WindowData

DIM, NUM_LAYERS, TELLING = 12, 2, 2
METRICS = {"classes": ("accuracy",), "tags": ("roc_auc", "average_precision"), "values": ("r2",), "beats": ("f_measure",)}
ENCODER = {"name": "made up", "weights_hash": "0" * 64, "num_layers": NUM_LAYERS, "dim": DIM}
SMALL = GridSettings(rates=(1e-3, 1e-2), seeds=(1, 2))
RATE = 5e-3
QUICK = HeadSettings(epochs=40, patience=10, plateau=3, batch=32, hidden=32)


def make_task(kind: str, metrics=None, head=QUICK) -> Task:
    metrics = metrics or METRICS[kind]
    nowhere = Dataset("none", "none", "none", "none", "none")
    return Task("MadeUp", "made up", nowhere, kind, lambda folder: None, {}, metrics, metrics[0], head=head)


def make_data(kind: str, num_items=180, num_classes=3, seed=0, shuffled=False) -> TaskData:
    """Items, a third in each split; with `shuffled` labels are another item's."""
    random = np.random.default_rng(seed)
    labels = {
        "classes": lambda: list(random.permutation(np.arange(num_items) % num_classes)),
        "tags": lambda: list((random.random((num_items, num_classes)) < 0.4).astype(np.float32)),
        "values": lambda: list(random.standard_normal((num_items, num_classes)) * 3 + 50),
    }[kind]()
    splits = [("train", "valid", "test")[number % 3] for number in range(num_items)]
    items = [Item(f"item{number}", Path("no.wav"), split, label) for number, (split, label) in enumerate(zip(splits, labels))]
    return TaskData(items, tuple(f"class{number}" for number in range(num_classes)))


def hear_data(kind: str, data: TaskData, windows_per_item=2, noise=0.3, seed=1, telling=TELLING, shuffled=False) -> HeardItems:
    """Features [N, L + 1, D]: noise, and at hidden state `telling` the label as well; with `shuffled` that of another item."""
    random = np.random.default_rng(seed)
    labels = np.array([item.label for item in data.items], float)
    if kind == "classes":
        labels = np.eye(len(data.classes))[labels.astype(int)]
    if shuffled:
        labels = labels[random.permutation(len(labels))]
    labels = (labels - labels.mean(0)) / labels.std(0)
    owner = np.repeat(np.arange(len(data.items)), windows_per_item)
    rows = random.standard_normal((len(owner), NUM_LAYERS + 1, DIM)).astype(np.float32)
    rows[:, telling] *= noise
    rows[:, telling] += (labels @ random.standard_normal((labels.shape[1], DIM)))[owner]
    return HeardItems(rows, np.arange(len(owner)), owner)


def make_windows(kind: str, metrics=None, **settings) -> WindowData:
    data = make_data(kind)
    return WindowData(make_task(kind, metrics), data, hear_data(kind, data, **settings))


def make_beats(num_items=18, seconds=6.0, seed=0):
    """(task, data, frames): recordings with steady beats, told at hidden state TELLING."""
    random = np.random.default_rng(seed)
    items, frames = [], []
    for number in range(num_items):
        beats = np.arange(random.uniform(0, 0.4), seconds, 60 / random.uniform(80, 160))
        split = ("train", "valid", "test")[number % 3]
        items.append(Item(f"song{number}", Path("no.wav"), split, BeatTimes(beats, beats[::4])))
        features = random.standard_normal((round(seconds * 75), NUM_LAYERS + 1, DIM))
        features[beat_targets(beats, len(features), 75.0) > 0, TELLING, 0] += 6
        frames.append(StoredFrames.of(features))
    return make_task("beats", head=HeadSettings(epochs=40, patience=15, plateau=10, batch=2, hidden=32)), TaskData(items, ("beat",)), frames


def probed(folder, kind="classes", metrics=None, grid=SMALL, data=None, heard=None, **settings):
    """Results of such a task in a folder."""
    task, data = make_task(kind, metrics), data or make_data(kind)
    return probe_task(task, data, WindowData(task, data, heard or hear_data(kind, data)), ENCODER, folder, grid, **settings)


def weights(trained):
    """Of a trained head, in one row."""
    return torch.cat([parameter.flatten() for parameter in trained.head.parameters()])
