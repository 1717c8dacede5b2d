"""Small checkpoints as fairseq saves them, for the tests that read them or go on from them."""

import torch
from torch import nn

SETTINGS = {
    "task": {"_name": "mert_pretraining", "labels": ["encodec"], "data": "/music"},
    "model": {"_name": "mert", "encoder_embed_dim": 4, "dropout": 0.1},
    "criterion": {"_name": "mert", "cqt_weight": 1.0},
    "optimization": {"lr": [0.0005], "max_update": 100},
    "common": {"seed": 1, "log_interval": 200},
}


class Network(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.encoder = nn.Linear(3, width)
        self.head = nn.Linear(width, 2)


def settings(**changes):
    """SETTINGS with changes given as group__key=value."""
    copy = {group: dict(values) for group, values in SETTINGS.items()}
    for name, value in changes.items():
        group, key = name.split("__")
        copy[group][key] = value
    return copy


def content(width=4, **changes):
    return {"model": Network(width).state_dict(), "cfg": settings(**changes), "extra_state": {"epoch": 3}}


def save(path, state, old_style=False):
    torch.save(state, path, _use_new_zipfile_serialization=not old_style)
    return path
