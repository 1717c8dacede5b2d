"""The shipped configurations ask for half precision, which fairseq computes on CUDA alone: a CPU trains without it, and says so."""

import logging
import subprocess

import pytest
import torch
import training_runs as runs
from omegaconf import OmegaConf

from mert_fairseq.launch.cpu import without_half_precision

SAID = "half precision is for a GPU and switched off"
ONE_UPDATE = ["optimization.max_update=1", "dataset.num_workers=0", "task.min_sample_size=36000", "model.encoder_layers=1"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is trained on")
@pytest.mark.parametrize("processes", [1, 2])
def test_mert_base_trains_on_a_cpu(tmp_path, processes):
    corpus = runs.build_corpus(tmp_path / "corpus", num_train=2, num_valid=1, seconds=3)
    several = [f"distributed_training.distributed_world_size={processes}", "model.encoder_attention_heads=4"]
    argv = runs.in_configuration("mert_base", runs.command(corpus, tmp_path / "run", *ONE_UPDATE, *several))
    result = subprocess.run(argv, capture_output=True, text=True, env=runs.environment(), timeout=150)
    assert result.returncode == 0, result.stderr[-2000:]
    log = next((tmp_path / "run").glob("*.log")).read_text(encoding="utf-8")
    assert log.count(SAID) == 1 and "common.fp16=true" in log
    assert list(runs.logged_numbers(tmp_path / "run")["train"]) == [1]


@pytest.mark.parametrize(
    "asked, said",
    [
        ({}, []),
        ({"common": {"fp16": True}}, ["common.fp16"]),
        ({"common": {"fp16": True, "memory_efficient_fp16": True}}, ["common.fp16"]),
        ({"common": {"memory_efficient_fp16": True}}, ["common.memory_efficient_fp16"]),
        ({"optimizer": {"fp16_adam_stats": True}}, ["optimizer.fp16_adam_stats"]),
    ],
)
def test_all_of_half_precision_goes_and_nothing_else(asked, said, caplog):
    off = {"common": {"fp16": False, "memory_efficient_fp16": False, "bf16": True}, "optimizer": {"fp16_adam_stats": False}}
    off["model"] = {"autocast": "bf16"}
    cfg = OmegaConf.merge(off, asked)
    OmegaConf.set_struct(cfg, True)
    with caplog.at_level(logging.WARNING):
        without_half_precision(cfg)
    assert cfg == off
    assert [record.getMessage().partition("=")[0] for record in caplog.records] == said


def test_an_optimizer_without_statistics_in_half_precision():
    cfg = OmegaConf.create({"common": {"fp16": True, "memory_efficient_fp16": False}, "optimizer": {"_name": "sgd"}})
    OmegaConf.set_struct(cfg, True)
    without_half_precision(cfg)
    assert not cfg.common.fp16
