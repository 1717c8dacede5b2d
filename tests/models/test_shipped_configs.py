"""The shipped configs: the sizes of their models, their crops, and that every key is a known one."""

from pathlib import Path

import pytest
import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
from fairseq.dataclass.configs import FairseqConfig
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.models.wav2vec import wav2vec2
from fairseq.optim import OPTIMIZER_DATACLASS_REGISTRY
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from hydra.conf import HydraConf
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from test_config import PUBLISHED_STACK
from test_golden import TaskSettings

import mert_fairseq
from mert_fairseq.frames import num_conv_frames
from mert_fairseq.models.mert import MERTConfig, MERTModel
from mert_fairseq.models.mert.config import conv_layers_of

CONFIGS = Path(mert_fairseq.__file__).parent / "config"
#: Groups whose data class the key `_name` names, and the name that the shipped configs have.
REGISTRIES = {
    "task": (TASK_DATACLASS_REGISTRY, "mert_pretraining"),
    "model": (MODEL_DATACLASS_REGISTRY, "mert"),
    "criterion": (CRITERION_DATACLASS_REGISTRY, "mert"),
    "optimizer": (OPTIMIZER_DATACLASS_REGISTRY, "adam"),
    "lr_scheduler": (LR_SCHEDULER_DATACLASS_REGISTRY, "polynomial_decay"),
}


def build(name, codebook_sizes, monkeypatch):
    """The model of a shipped config without memory for its weights."""
    monkeypatch.setattr(wav2vec2, "init_bert_params", lambda module: None)  # it copies to the CPU and back
    settings = OmegaConf.load(CONFIGS / f"{name}.yaml").model
    settings.pop("_name")
    cfg = OmegaConf.merge(OmegaConf.structured(MERTConfig), settings, {"label_rate": 75.0, "seed": 1})
    with torch.device("meta"):
        return MERTModel(cfg, TaskSettings, codebook_sizes)


@pytest.mark.parametrize(
    "name, codebook_sizes, parameters",
    [
        ("mert_base", [1024] * 8, 95_550_160),  # the published code's own count, and so is the next
        ("mert_large", [1024] * 8, 317_875_664),
        # Against mert_base: 6 codebooks of 64 x 768 + 64 projections less, and 8 x 1028 - (304 + 204) rows of 64 less.
        ("mert_base_kmeans", [300, 200], 95_550_160 - 6 * 64 * 769 - (8 * 1028 - 508) * 64),
        ("mert_tiny", [1024] * 8, 942_544),
    ],
)
def test_number_of_parameters(name, codebook_sizes, parameters, monkeypatch):
    """Exactly the published numbers: same parameters, and the CQT's kernels are none."""
    model = build(name, codebook_sizes, monkeypatch)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == parameters


def test_tiny_counted_by_hand(monkeypatch):
    """What mert_tiny's 942,544 parameters are."""
    convolutions = 64 * 10 + 4 * 64 * 64 * 3 + 2 * 64 * 64 * 2 + 2 * 64  # no bias; one group norm
    projection = 2 * 64 + 64 * 128 + 128 + 128  # layer norm, linear, mask embedding
    positions = 128 * (128 // 16) * 128 + 128 + 128  # taps of 16 groups, a size per tap, bias
    layer = 4 * (128 * 128 + 128) + 128 * 512 + 512 + 512 * 128 + 128 + 4 * 128
    heads = 128 * 8 * 32 + 8 * 32 + 8 * 1028 * 32 + 128 * 336 + 336
    assert convolutions + projection + positions + 2 * layer + 2 * 128 + heads == 942_544


def shipped():
    return sorted(CONFIGS.rglob("*.yaml"))


def problems(config):
    """What fairseq or Hydra would refuse: keys that their data class does not know, and values of a wrong type."""
    found = []
    for group, settings in OmegaConf.to_container(config, resolve=False).items():
        if group == "defaults":
            continue
        if group == "hydra":
            known = OmegaConf.structured(HydraConf)
        elif group in REGISTRIES:
            registry, usual = REGISTRIES[group]
            name = settings.get("_name", usual)
            if name not in registry:
                found.append(f"{group}._name={name}")
                continue
            known = OmegaConf.structured(registry[name])
        elif group in FairseqConfig.__dataclass_fields__:
            known = OmegaConf.structured(FairseqConfig.__dataclass_fields__[group].default)
        else:
            found.append(group)
            continue
        for key, value in settings.items():
            try:
                OmegaConf.merge(known, OmegaConf.create({key: value}))
            except OmegaConfBaseException as error:
                found.append(f"{group}.{key}={value}: {type(error).__name__}")
    return found


@pytest.mark.parametrize("name", ["mert_tiny", "mert_base", "mert_large", "mert_base_kmeans"])
@pytest.mark.parametrize("setting, value", [("compile", True), ("autocast", "bf16")])
def test_own_settings_are_overridden_without_a_plus(name, setting, value):
    """As the README gives them; Hydra refuses a key that the config has not."""
    config = OmegaConf.load(CONFIGS / f"{name}.yaml")
    OmegaConf.set_struct(config, True)
    OmegaConf.update(config, f"model.{setting}", value)
    assert config.model[setting] == value


def test_the_shipped_configs_are_there():
    assert {"mert_tiny.yaml", "mert_base.yaml", "mert_large.yaml", "mert_base_kmeans.yaml"} <= {path.name for path in shipped()}


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_key_is_known_to_its_data_class(path):
    assert problems(OmegaConf.load(path)) == []


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("model: {_name: mert, mask_probability: 0.8}", "model.mask_probability=0.8: ConfigKeyError"),
        ("task: {labels: [encodec], label_folder: x}", "task.label_folder=x: ConfigKeyError"),
        ("criterion: {_name: mert, cqt_weight: much}", "criterion.cqt_weight=much: ValidationError"),
        ("model: {_name: mert, autocast: bf15}", "model.autocast=bf15: ValidationError"),
        ("common: {sede: 1}", "common.sede=1: ConfigKeyError"),
        ("optimisation: {max_update: 1}", "optimisation"),
        ("optimizer: {_name: adma}", "optimizer._name=adma"),
        ("hydra: {job: {chdri: false}}", "hydra.job={'chdri': False}: ConfigKeyError"),
    ],
)
def test_an_unknown_key_would_be_seen(text, wanted):
    assert problems(OmegaConf.create(text)) == [wanted]


@pytest.mark.parametrize("name, frames", [("mert_tiny", 112), ("mert_base", 374), ("mert_large", 383), ("mert_base_kmeans", 374)])
def test_shipped_crops_fit_their_model(name, frames):
    config = OmegaConf.load(CONFIGS / f"{name}.yaml")
    layers = conv_layers_of(config.model.get("conv_feature_layers", PUBLISHED_STACK))
    assert num_conv_frames(config.task.max_sample_size, layers) == frames
    assert config.task.min_sample_size <= config.task.max_sample_size <= config.dataset.max_tokens
