"""The configs of the published sizes against the published tables, and the keys that error messages tell users to set."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

import mert_fairseq

CONFIG = Path(mert_fairseq.__file__).parent / "config"

# MERT_RVQ-VAE_CQT_95M.yaml and MERT_RVQ-VAE_CQT_330M.yaml
PUBLISHED = {
    "model.encoder_layers": (12, 24),
    "model.encoder_embed_dim": (768, 1024),
    "model.encoder_ffn_embed_dim": (3072, 4096),
    "model.encoder_attention_heads": (12, 16),
    "model.layer_norm_first": (False, True),
    "model.attention_relax": (-1, 32),
    "model.final_dim": (64, 128),
    "model.feature_grad_mult": (0.1, 1.0),
    "model.encoder_layerdrop": (0.05, 0.0),
    "model.dropout": (0.1, 0.0),
    "model.attention_dropout": (0.1, 0.0),
    "model.dropout_input": (0.1, 0.0),
    "model.dropout_features": (0.1, 0.0),
    "model.activation_dropout": (0.0, 0.0),
    "model.mask_prob": (0.8, 0.8),
    "model.mask_length": (5, 5),
    "model.mixture_prob": (0.5, 0.5),
    "model.inbatch_noise_augment_len_range": ([12000, 24000], [12000, 36000]),
    "criterion.features_pen_weight": (10.0, 10.0),
    "criterion.cqt_weight": (1.0, 1.0),
    "task.max_sample_size": (120000, 122880),
    "task.min_sample_size": (72000, 72000),
    "task.normalize": (False, False),
    "dataset.max_tokens": (2000000, 900000),
    "optimization.update_freq": ([1], [8]),
    "optimization.lr": ([5e-4], [1.5e-3]),
    "optimization.clip_norm": (10.0, 1.0),
    "optimization.max_update": (400000, 400000),
    "optimizer.adam_betas": ([0.9, 0.98], [0.9, 0.98]),
    "optimizer.adam_eps": (1e-6, 1e-6),
    "optimizer.weight_decay": (0.01, 0.01),
    "lr_scheduler.warmup_updates": (32000, 32000),
    "common.seed": (1337, 1337),
    "common.fp16": (True, True),
}

# Hydra lets a command change only what a config names.
CHANGEABLE = [
    "task.sample_rate",
    "task.label_rate",
    "task.accept_new_order",
    "task.accept_new_data",
    "task.max_bad_files",
    "task.min_sample_size",
    "task.normalize",
    "task.cqt_labels",
    "model.autocast",
    "model.skip_masked",
    "model.skip_nomask",
    "model.mask_length",
    "criterion.nan_patience",
    "criterion.pred_masked_weight",
    "criterion.pred_nomask_weight",
]


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_numbers(key):
    ours = [OmegaConf.select(OmegaConf.load(CONFIG / f"{name}.yaml"), key) for name in ("mert_base", "mert_large")]
    ours = [OmegaConf.to_container(value) if OmegaConf.is_config(value) else value for value in ours]
    assert ours == list(PUBLISHED[key])


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def test_keys_that_messages_name_can_be_set(path):
    config = OmegaConf.load(path)
    groups = {key: config[key.split(".")[0]] for key in CHANGEABLE}
    assert [key for key, group in groups.items() if key.split(".")[1] not in group] == []


@pytest.mark.parametrize("path", sorted(CONFIG.glob("run/*.yaml")), ids=lambda path: path.stem)
def test_every_number_of_gpus_keeps_the_published_batch(path):
    """Paper, section 4.3: 1.5 hours of audio per update for 95M, 5.5 hours for 330M."""
    model, gpus = path.stem.split("_")
    config = OmegaConf.merge(OmegaConf.load(CONFIG / f"mert_{model}.yaml"), OmegaConf.load(path))
    assert config.distributed_training.distributed_world_size == int(gpus.removesuffix("s").removesuffix("gpu"))
    (freq,) = config.optimization.update_freq
    hours = config.distributed_training.distributed_world_size * freq * config.dataset.max_tokens / config.task.sample_rate / 3600
    assert hours == pytest.approx({"base": 1.5, "large": 5.5}[model], rel=0.04)
    assert f"+run={path.stem} " in path.read_text() and path.read_text().startswith("# @package _global_\n")


def test_there_is_an_overlay_for_each_model_and_size():
    assert {path.stem for path in CONFIG.glob("run/*.yaml")} == {f"{m}_{n}" for m in ("base", "large") for n in ("1gpu", "8gpus", "64gpus")}
