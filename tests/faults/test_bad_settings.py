"""Settings of wrong types, out of range and unknown: one line before anything is trained, or a first update that works."""

import math
from dataclasses import fields

import pytest
import torch
import training_runs as runs
from fairseq import tasks
from fairseq.dataclass.initialize import add_defaults
from omegaconf import OmegaConf

from mert_fairseq.criterions.mert import MERTCriterionConfig
from mert_fairseq.errors import MertError
from mert_fairseq.models.mert import MERTConfig
from mert_fairseq.tasks import MERTPretrainingConfig

NUMBERS = (-1, 0, 10**18, -(10**18), 1.5, -0.5, math.nan, math.inf, -math.inf)
TYPES = ("abc", "", {"a": 1}, [1, 2], None, True)
STACK = [[16, 10, 5], *[[16, 3, 2]] * 4, *[[16, 2, 2]] * 2]
MODEL = {
    "_name": "mert", "encoder_layers": 1, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4,
    "final_dim": 8, "conv_pos": 16, "conv_pos_groups": 4, "conv_feature_layers": STACK, "label_rate": 75.0, "seed": 1, "autocast": "none",
}  # fmt: skip
CRITERION = {"_name": "mert", "pred_masked_weight": 1.0, "pred_nomask_weight": 0.0}
CLASSES = {"task": MERTPretrainingConfig, "model": MERTConfig, "criterion": MERTCriterionConfig}
PLACES = {"data", "label_dir", "_name"}  # what is no setting of numbers or choices
CASES = [(part, field.name) for part, cls in CLASSES.items() for field in fields(cls) if field.name not in PLACES]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Settings that work, part by part."""
    corpus = runs.build_corpus(tmp_path_factory.mktemp("corpus"), num_train=2, num_valid=1, seconds=3)
    task = {"_name": "mert_pretraining", "data": f"{corpus}/manifest", "label_dir": f"{corpus}/labels", "labels": ["encodec"], "seed": 1}
    task |= {"cqt_labels": "cqt", "max_sample_size": 24_000, "min_sample_size": 24_000, "conv_feature_layers": STACK}
    return {"task": task, "model": MODEL, "criterion": CRITERION}


def first_update(parts):
    """What fairseq does up to the first update's gradients; the loss."""
    cfg = OmegaConf.create(parts)
    add_defaults(cfg)  # where keys and types are held against the data classes
    task = tasks.setup_task(cfg.task)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    task.load_dataset("train")
    dataset = task.dataset("train")
    batch = dataset.collater([dataset[index] for index in dataset.ordered_indices()[:2]])
    loss, size, _ = criterion(model.train(), batch)
    (loss / max(1, size)).backward()
    return loss


def outcome_of(parts):
    """(what becomes of it, what was said)."""
    try:
        loss = first_update(parts)
    except MertError as error:
        return ("silent" if "\n" in str(error) or not str(error) else "refused"), str(error)
    except Exception as error:  # noqa: BLE001  a user would see its traceback
        return "traceback", repr(error)
    return ("survived" if torch.isfinite(loss) else "silent"), f"loss {loss}"


def test_the_settings_work_as_they_are(parts):
    assert outcome_of(parts)[0] == "survived"


@pytest.mark.parametrize("part, name", CASES, ids=[f"{part}.{name}" for part, name in CASES])
def test_a_setting(parts, part, name, faults):
    """Numbers of all sizes for those that take numbers, and values of other types for all; the refusal names the setting."""
    number = is_number(CLASSES[part], name)
    values = [*(NUMBERS if number else ()), *TYPES]
    for value in values if faults.long or number else values[::2]:
        changed = {**parts, part: {**parts[part], name: value}}
        outcome, said = outcome_of(changed)
        named = outcome != "refused" or name in said or any(text in said for text in shown_as(value))
        kind = "numbers" if type(value) in (int, float) else "types"
        faults.record(f"settings: {part}, {kind}", outcome if named else "silent", f"{part}.{name}={value!r}: {said}")


def shown_as(value):
    """What a message may have of a value."""
    return [str(value), f"{float(value)}", f"{value:g}"] if type(value) in (int, float) else [repr(value), str(value) or "''"]


def is_number(cls, name):
    """Whether a setting takes a number; interpolated ones that do are named."""
    field = next(field for field in fields(cls) if field.name == name)
    return str(field.type).replace("typing.", "") in ("<class 'int'>", "<class 'float'>", "Optional[int]", "int", "float")


@pytest.mark.parametrize("name, values", [
    ("inbatch_noise_augment_len_range", ([], [5], [10, 5], [-1, 5], [0, 5], [1, 2, 3], [1, 10**18], ["a", "b"], [[1], [2]])),
    ("inbatch_noise_augment_number_range", ([], [1], [3, 1], [-1, 5], [1, 2, 3], [1, 10**18], ["a", "b"])),
    ("conv_feature_layers", ([], [[]], [[1, 2]], [[16, 10, 5]], [[10**18, 10, 5]], [[16, 0, 5]], [[16, 10, -5]], "x", "[(1,2)]*10**9", 7)),
])  # fmt: skip
def test_a_list(parts, name, values, faults):
    for value in values:
        changed = {**parts, "model": {**parts["model"], "mixture_prob": 1.0, name: value}}
        if name == "conv_feature_layers":
            changed["task"] = {**parts["task"], name: value}
        outcome, said = outcome_of(changed)
        faults.record("settings: lists", outcome.replace("survived", "silent"), f"{name}={value!r}: {said}")


@pytest.mark.parametrize("part", CLASSES)
def test_an_unknown_key(parts, part, faults):
    for name in ("mask_probability", "Mask_prob", "crop", "lr", "labels_dir", "x y", ""):
        outcome, said = outcome_of({**parts, part: {**parts[part], name: 1}})
        outcome = outcome.replace("survived", "silent") if name in said else "silent"
        faults.record("settings: unknown keys", outcome, f"{part}.{name}: {said}")


COMMANDS = (
    "common.seed=-1", "task.data=/missing", "+model.mask_probability=0.5", "model.encoder_layers=abc", "model.dropout=1.5",
    "task.crops_per_file=-1", "criterion.cqt_weight=-1", "model.encoder_attention_heads=5", "task.max_sample_size=[1]",
    "criterion.nan_patience=0", "model.mask_prob=nan", "task.labels=7", "common.seed=99999999999",
    "checkpoint.finetune_from_model=missing.pt", "dataset.num_workers=-1", "optimization.lr=[nan]",
    "checkpoint.write_checkpoints_asynchronously=true", "dataset.required_batch_size_multiple=0", "dataset.max_tokens=100",
    "common.log_interval=0", "optimizer.adam_betas=nonsense", "optimization.stop_min_lr=1", "optimization.max_update=-5",
    "common.profile=true", "common.user_dir=/missing", "lr_scheduler.warmup_updates=-5", "task.labels=[encodec,encodec]",
)  # fmt: skip


def test_the_real_command(parts, faults, tmp_path):
    """Exit code 1, one line between Hydra's two, no checkpoint."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, folder in (("manifest", "data"), ("labels", "label_dir")):
        (corpus / name).symlink_to(parts["task"][folder])
    for override in COMMANDS[: faults.times(2, len(COMMANDS))]:
        result = runs.train(corpus, tmp_path / "run", "optimization.max_update=1", "dataset.disable_validation=true", override)
        lines = [line for line in result.stderr.splitlines() if line]
        said = lines[-2] if lines and lines[-1].startswith("Set the environment variable HYDRA_FULL_ERROR") else ""
        key = override.lstrip("+").partition("=")[0].partition(".")[2]
        refused = result.returncode == 1 and key in said and not list((tmp_path / "run").rglob("checkpoint*.pt"))
        outcome = "traceback" if "Traceback" in result.stderr else "refused" if refused else "silent"
        faults.record("settings: fairseq-hydra-train", outcome, f"{override}: {result.returncode} {result.stderr[-1500:]}")


def test_heads_that_do_not_divide_the_width(parts, faults):
    for name, value in (("encoder_attention_heads", 5), ("conv_pos_groups", 7), ("encoder_embed_dim", 30)):
        outcome, said = outcome_of({**parts, "model": {**parts["model"], name: value}})
        faults.record("settings: that do not go together", outcome.replace("survived", "silent") if name in said else "silent", said)
