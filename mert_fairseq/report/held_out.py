"""What the last checkpoint predicts of held-out clips: one clip's spectrum, and how often each code."""

import contextlib
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from fairseq import checkpoint_utils
from omegaconf import DictConfig, OmegaConf

from mert_fairseq.checkpoints import DAMAGED, check_is_mert, codebook_sizes, read_checkpoint
from mert_fairseq.class_ids import NUM_SPECIALS
from mert_fairseq.data.mert_dataset import MERTDataset
from mert_fairseq.errors import MertError
from mert_fairseq.frames import SAMPLE_RATE, num_conv_frames
from mert_fairseq.models.mert import MERTConfig, MERTModel
from mert_fairseq.models.mert.masking import draw_span_mask
from mert_fairseq.models.mert.size import check_size
from mert_fairseq.tasks import MERTPretrainingTask

SPLIT, TASK = "valid", "mert_pretraining"
LISTENED_S = 60.0  # audio that codes are predicted of, seconds
CHECKPOINTS = ("checkpoint_last.pt", "checkpoint_best.pt")


@dataclass
class HeldOutClip:
    """The spectrum of one clip.

    Attributes:
        file: its path in the manifest.
        start_s, length_s: its place in the file.
        true, predicted: [T, Q] magnitudes; what the model says of the masked clip.
        masked: [T] bool, frames hidden from the model.
        mean: [Q] mean spectrum of all the clips heard.
        frequencies: [Q] Hz.
    """

    file: str
    start_s: float
    length_s: float
    true: np.ndarray
    predicted: np.ndarray
    masked: np.ndarray
    mean: np.ndarray
    frequencies: np.ndarray

    @property
    def error(self) -> float:
        """Mean squared error of the masked frames."""
        return float(((self.predicted - self.true)[self.masked] ** 2).mean())

    @property
    def error_of_mean(self) -> float:
        """The same of the mean spectrum."""
        return float(((self.true - self.mean)[self.masked] ** 2).mean())


@dataclass
class Predictions:
    """What a checkpoint makes of held-out clips.

    Attributes:
        checkpoint: its file.
        num_updates: it has seen.
        seconds: of audio.
        codes: for each codebook [2, V]: how often each code was predicted on masked frames, and was the target there.
        clip: the one of middling loudness; None without a CQT head.
    """

    checkpoint: Path
    num_updates: int
    seconds: float
    codes: List[np.ndarray]
    clip: Optional[HeldOutClip]


def find_checkpoint(run_dir: Path, config: DictConfig) -> Path:
    """The last one, else the best.

    Raises:
        MertError: there is none.
    """
    saved = str(OmegaConf.to_container(config, resolve=False).get("checkpoint", {}).get("save_dir", "${"))
    folder = Path(run_dir) / ("checkpoints" if "${" in saved else saved)
    for name in CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    raise MertError(f"{folder}: no {' or '.join(CHECKPOINTS)} in it yet; one is saved every checkpoint.save_interval_updates")


def predict(run_dir: Path, config: DictConfig, listened_s: float = LISTENED_S) -> Predictions:
    """Runs the checkpoint over the first clips of the held-out split, in the order of its validation.

    Raises:
        MertError: checkpoint, manifest, targets or audio are missing or damaged; it says which.
    """
    path = find_checkpoint(run_dir, config)
    with _quiet():
        model, task = _load(path, config)
        task.load_dataset(SPLIT)
        dataset = task.dataset(SPLIT)
        clips = [clip for clip in _clips(dataset, listened_s) if clip]
    if not clips:
        raise MertError(f"{config.task.data}/{SPLIT}.tsv: no clip of it can be read; `mert labels check` names what is wrong")
    with torch.inference_mode():
        counts = sum(_code_counts(model, clip) for clip in clips)
        clip = None if model.encoder_cqt_model is None else _spectrum(model, dataset, clips)
    codes = [part[:, NUM_SPECIALS:].numpy() for part in counts.split(list(model.num_classes), 1)]
    seconds = sum(clip["net_input"]["source"].numel() for clip in clips) / SAMPLE_RATE
    return Predictions(path, model.num_updates, seconds, codes, clip)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """fairseq tells at length what it loads, and torch what fairseq should no longer use."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _load(path: Path, config: DictConfig) -> Tuple[MERTModel, MERTPretrainingTask]:
    """Model and task of a checkpoint, with the folders where the run has them now."""
    state = read_checkpoint(str(path))  # memory-mapped: the optimiser's part of it is not read
    check_is_mert(str(path), state)  # fairseq builds what a checkpoint names, and evaluates strings in the settings of other models
    task_name = (state["cfg"].get("task") or {}).get("_name")
    if task_name != TASK:
        raise MertError(f"{path}: a checkpoint of the task {task_name!r}, wanted {TASK!r}")
    try:
        cfg = OmegaConf.create(state["cfg"])
        _check_size(cfg.model, state)
        cfg.task.data, cfg.task.label_dir, cfg.model.compile = config.task.data, config.task.label_dir, False
        models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)], state={**state, "cfg": cfg, "args": None})
    except MertError:
        raise
    except DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MertError(f"{path}: no checkpoint that this version of the package can load ({reason})") from error
    if not isinstance(models[0], MERTModel):
        raise MertError(f"{path}: holds {type(models[0]).__name__}, a model of this package wanted")
    return models[0].float().eval(), task


def _check_size(settings: DictConfig, state: Dict[str, Any]) -> None:
    known = {name: value for name, value in settings.items() if name in MERTConfig.__dataclass_fields__}
    cfg = OmegaConf.merge(OmegaConf.structured(MERTConfig), known)
    check_size(cfg, codebook_sizes(state), sum(tensor.numel() for tensor in state["model"].values()))


def _clips(dataset: MERTDataset, listened_s: float) -> Iterator[Dict[str, Any]]:
    """Batches of one clip, until there is audio enough; {} for a damaged file."""
    left = listened_s
    for index in dataset.ordered_indices():
        if left <= 0:
            return
        left -= dataset.size(int(index)) / SAMPLE_RATE
        yield dataset.collater([dataset[int(index)]])


def _code_counts(model: MERTModel, batch: Dict[str, Any]) -> torch.Tensor:
    """[2, sum of classes] of the masked frames."""
    output = model(target_list=batch["target_list"], **batch["net_input"])
    return (output["codes_m"] or output["codes_u"]).counts


def _spectrum(model: MERTModel, dataset: MERTDataset, clips: List[Dict[str, Any]]) -> HeldOutClip:
    """True and predicted spectrum of the clip of middling loudness, masked as training masks it."""
    by_loudness = sorted(clips, key=lambda clip: float(clip["net_input"]["source"].pow(2).mean()))
    inputs, head = by_loudness[len(clips) // 2]["net_input"], model.encoder_cqt_model
    source = inputs["source"]
    num_frames = num_conv_frames(source.size(1), model.conv_layers)
    spans = draw_span_mask(model.cfg, (1, num_frames), None, torch.tensor(inputs["ids"]), 0, source.device)
    x = model(source, features_only=True, mask_indices=spans.indices)["x"]
    row, first, length = dataset.place_of(inputs["ids"][0])
    return HeldOutClip(
        file=dataset.manifest.relative_path(row),
        start_s=first / SAMPLE_RATE,
        length_s=length / SAMPLE_RATE,
        true=_magnitudes(model, inputs)[:num_frames],
        predicted=head.fc(x.to(head.fc.weight.dtype)).float()[0].numpy(),
        masked=spans.indices[0].numpy(),
        mean=np.concatenate([_magnitudes(model, clip["net_input"]) for clip in clips]).mean(0),
        frequencies=head.transform.config.frequency(np.arange(head.num_bins)),
    )


def _magnitudes(model: MERTModel, inputs: Dict[str, Any]) -> np.ndarray:
    """[T, Q] of a batch of one clip."""
    return model.encoder_cqt_model.magnitudes(inputs["source"], inputs.get("cqt_targets"))[0].float().numpy()
