"""A checkpoint as fairseq writes it, of a small model with random weights."""

from pathlib import Path
from types import SimpleNamespace

import torch

from mert_fairseq.export.training_model import build_model, plain_settings

SIZES = [7, 5, 9]
SETTINGS = {
    "encoder_layers": 3,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "final_dim": 8,
    "conv_feature_layers": [[16, 10, 5], [16, 3, 2], [16, 3, 2], [16, 3, 2], [16, 3, 2], [16, 2, 2], [16, 2, 2]],
    "conv_pos": 16,
    "conv_pos_groups": 4,
}


def write_checkpoint(path: Path, layer_norm_first: bool = False, dtype: torch.dtype = torch.float32) -> SimpleNamespace:
    """A checkpoint at update 500; the model in evaluation mode beside it."""
    torch.manual_seed(5)
    model = build_model({**SETTINGS, "layer_norm_first": layer_norm_first}, SIZES, "test").eval()
    with torch.no_grad():
        for parameter in model.parameters():  # away from what fairseq starts with: ones in norms, zeros in biases
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.to(dtype).float()
    state = {
        "args": None,
        "cfg": {
            "model": {"_name": "mert", **plain_settings(model.cfg)},
            "task": {"_name": "mert_pretraining", "data": "somewhere", "labels": ["encodec"], "sample_rate": 24_000, "label_rate": 75.0},
            "criterion": {"_name": "mert"},
            "common": {"seed": 1},
        },
        "model": {name: tensor.to(dtype) for name, tensor in model.state_dict().items()},
        "task_state": {"codebook_sizes": SIZES, "device_seconds": 7200.0, "skipped_updates": 0},
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 500}],
        "extra_state": {"train_iterator": {"epoch": 3, "iterations_in_epoch": 0, "version": 2}},
        "last_optimizer_state": None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return SimpleNamespace(path=path, model=model, state=state, pre_ln=layer_norm_first)
