"""Run folders as training leaves them, made without training: a log, a configuration, and a checkpoint if asked for."""

import json

import torch
from omegaconf import OmegaConf

from mert_fairseq.models.mert import MERTConfig, MERTModel

NUM_BINS, SECONDS = 336, 1.5
SMALL = dict(
    _name="mert",
    encoder_layers=1,
    encoder_embed_dim=32,
    encoder_ffn_embed_dim=64,
    encoder_attention_heads=4,
    final_dim=8,
    conv_feature_layers=[[16, 10, 5], *[[16, 3, 2]] * 4, *[[16, 2, 2]] * 2],
    audio_cqt_bins=NUM_BINS,
    label_rate=75.0,
    seed=1,
)


def line(record, source="train_inner", second=0):
    """A line of the log; a record as JSON, text as it is."""
    text = record if isinstance(record, str) else json.dumps(record)
    return f"[2024-05-06 07:08:{second:02},123][{source}][INFO] - {text}\n"


def train_record(update, **changes):
    """What fairseq logs of training: numbers as text."""
    values = dict(loss=60 - update / 10, loss_codes_m=9 - update / 100, loss_cqt_m=0.2, loss_features_pen=0.01, masked_share=0.5)
    values |= dict(loss_m_0=5, loss_m_1=4 - update / 100, correct_m_0=0.01, correct_m_1=0.25, gnorm=3.5, lr=0.001, clip=5)
    values |= dict(audio_s_per_s=80, mfu=0.75, data_wait=0.03, peak_mem_gb=1.5, device_hours=update / 1000)
    values |= {"num_updates": update, **changes}
    return {"epoch": 1, **{key: str(value) for key, value in values.items() if value is not None}}


def valid_record(update, **changes):
    """What fairseq logs of a validation."""
    values = dict(loss=61 - update / 10, loss_codes_m=9.5 - update / 100, loss_cqt_m=0.21, loss_features_pen=0.011, masked_share=0.5)
    values |= dict(loss_m_0=5, loss_m_1=4.5 - update / 100, correct_m_0=0.01, correct_m_1=0.125)
    values |= dict(perplexity_m_0=3, perplexity_m_1=2, most_frequent_m_0=0.02, most_frequent_m_1=0.5, num_updates=update)
    values |= changes
    return {"epoch": 1, **{f"valid_{key}": str(value) for key, value in values.items() if value is not None}}


VERSIONS = 'versions {"python": "3.11.2", "torch": "2.11.0", "device": "cpu"}'
LOG = [line(VERSIONS), *(line(train_record(update)) for update in (10, 20, 30, 40))]
LOG += [line(valid_record(update), "valid") for update in (20, 40)]


class RunFolders:
    """Makes run folders over one corpus of recordings, codes and spectra."""

    def __init__(self, corpus):
        self.corpus = corpus

    def targets(self):
        """Two recordings a split, with codes of 1000 and 16 entries and spectra."""
        for split in ("train", "valid"):
            lengths = [int(SECONDS * 24_000) + 320] * 2
            manifest = self.corpus.manifest(lengths, split, audio=True)
            self.corpus.store(manifest, split=split)
            spectra = [torch.rand(length // 320 + 1, NUM_BINS).numpy() for length in lengths]
            self.corpus.store(manifest, spectra, split, kind="cqt", width=NUM_BINS)

    def make(self, name="run", log=LOG, overrides=("model.dropout=0.1",), **settings):
        """A run folder; `settings` are dotted names with `__` in place of the dot."""
        run = self.corpus.audio.parent / name
        (run / ".hydra").mkdir(parents=True)
        (run / "hydra_train.log").write_text("".join(log), encoding="utf-8")
        config = OmegaConf.create(self.config())
        for key, value in settings.items():
            OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
        OmegaConf.save(config, run / ".hydra" / "config.yaml")
        OmegaConf.save({"hydra": {"runtime": {"cwd": "/"}}}, run / ".hydra" / "hydra.yaml")
        OmegaConf.save(list(overrides), run / ".hydra" / "overrides.yaml")
        return run

    def config(self):
        """The settings that the report looks at."""
        folders = {"data": str(self.corpus.manifests), "label_dir": str(self.corpus.labels), "labels": ["codes"], "cqt_labels": "cqt"}
        sizes = {"max_sample_size": int(SECONDS * 24_000), "min_sample_size": 8000, "crops_per_file": 1}
        return {
            "common": {"seed": 1},
            "task": {"_name": "mert_pretraining", **folders, **sizes, "conv_feature_layers": SMALL["conv_feature_layers"], "seed": 1},
            "model": dict(SMALL),
            "criterion": {"_name": "mert", "features_pen_weight": 10.0, "cqt_weight": 60.0},
            "optimization": {"max_update": 40, "clip_norm": 10.0, "lr": [0.001]},
            "checkpoint": {"save_dir": "${hydra:runtime.output_dir}/checkpoints"},
        }

    def save_checkpoint(self, run, **changes):
        """An untrained model under checkpoints/checkpoint_last.pt."""
        config = self.config()
        config["model"] |= changes
        fields = {key: value for key, value in config["model"].items() if key != "_name"}
        torch.manual_seed(0)
        model = MERTModel(OmegaConf.merge(OmegaConf.structured(MERTConfig), fields), type("Task", (), {"sample_rate": 24_000}), [1000, 16])
        history = [{"num_updates": 40, "criterion_name": "MERTCriterion", "optimizer_name": "adam", "lr_scheduler_state": {}}]
        state = {"model": model.state_dict(), "cfg": config, "task_state": {"codebook_sizes": [1000, 16]}, "optimizer_history": history}
        state["extra_state"] = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 40}, "val_loss": 1.0}
        path = run / "checkpoints" / "checkpoint_last.pt"
        path.parent.mkdir(exist_ok=True)
        torch.save(state, path)
        return path
