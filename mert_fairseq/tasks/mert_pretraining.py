"""The task: wires manifest, target store, data set and model. No arithmetic of its own."""

import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from fairseq import utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.tasks import register_task
from fairseq.tasks.hubert_pretraining import HubertPretrainingTask

from mert_fairseq.class_ids import NUM_SPECIALS
from mert_fairseq.data.constant_codes import warn_of_constant_codes
from mert_fairseq.data.crop_settings import CropSettings
from mert_fairseq.data.loader_processes import end_with_the_epoch
from mert_fairseq.data.manifest import Manifest, read_manifest
from mert_fairseq.data.mert_dataset import MERTDataset
from mert_fairseq.data.shard import read_info
from mert_fairseq.data.target_store import TargetStore, shards_of, store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.launch.interruption import interruption
from mert_fairseq.models.mert.config import conv_layers_of
from mert_fairseq.tasks.config import MERTPretrainingConfig, check_settings
from mert_fairseq.tasks.nonfinite import NonFiniteUpdates
from mert_fairseq.tasks.throughput import StepClock, Throughput
from mert_fairseq.tasks.trained_on import check_same_data, describe_data
from mert_fairseq.tasks.training_watch import TrainingWatch
from mert_fairseq.tasks.versions import versions_line

logger = logging.getLogger(__name__)

SEED_STEP = 1_000_003  # between the seeds of an update's batches; beyond the number of updates


@register_task("mert_pretraining", dataclass=MERTPretrainingConfig)
class MERTPretrainingTask(HubertPretrainingTask):
    """Masked prediction of codes and CQT over music."""

    cfg: MERTPretrainingConfig

    def __init__(self, cfg: MERTPretrainingConfig):
        super().__init__(cfg)
        check_settings(cfg)
        # Kept in every checkpoint, so that a model can be built without the labels' folder.
        self.state.add_factory("codebook_sizes", self._read_codebook_sizes)
        self.state.add_factory("trained_on", dict)
        self.clock, self.throughput = StepClock(), None
        self.nonfinite = NonFiniteUpdates(self.state, self._files_of)
        self.watch = TrainingWatch(self.state, cfg.alarms_from)
        self.stop_requested, self._batches_begun, self._update = False, 0, 0

    @property
    def codebook_sizes(self) -> List[int]:
        """V of each of the K codebooks, all stores together."""
        return self.state.codebook_sizes

    def _read_codebook_sizes(self) -> List[int]:
        sizes = []
        for name in self.cfg.labels:
            path = shards_of(store_folder(self.get_label_dir(), "train", name))[0]
            info = read_info(path)
            if info.num_classes is None:
                raise MertError(f"{path}: holds {info.kind}, codes wanted; check task.labels={list(self.cfg.labels)}")
            sizes += info.num_classes
        return sizes

    def load_dataset(self, split: str, **kwargs) -> None:
        """Called by fairseq; refuses missing, truncated or stale targets here, before anything is trained."""
        manifest = read_manifest(Path(self.cfg.data) / f"{split}.tsv")
        stores = [self._open_store(split, name, manifest, "codes") for name in self.cfg.labels]
        cqt = None if self.cfg.cqt_labels is None else self._open_store(split, self.cfg.cqt_labels, manifest, "cqt")
        crop = CropSettings(
            max_samples=self.cfg.max_sample_size,
            min_samples=self.cfg.min_sample_size,
            per_file=self.cfg.crops_per_file,
            random=bool(self.cfg.random_crop) and split == "train",
            pad=bool(self.cfg.pad_audio),
            most=0 if split == "train" else self.cfg.max_valid_crops,
        )
        layers = conv_layers_of(self.cfg.conv_feature_layers)
        dataset = MERTDataset(manifest, stores, cqt, crop, layers, seed=self.cfg.seed, max_bad_files=self.cfg.max_bad_files)
        sizes = [size for store in stores for size in store.num_classes]
        if sizes != list(self.codebook_sizes):
            raise MertError(f"{split}: codebooks of {sizes} entries, the model has {list(self.codebook_sizes)}; use one teacher")
        if split == "train":
            self._keep_data(manifest, stores, cqt)
        for store in stores:
            warn_of_constant_codes(store)
        logger.info(f"{split}: {len(manifest)} files, {manifest.hours:.2f} h, {len(dataset)} crops per epoch")
        self.datasets[split] = dataset

    def _keep_data(self, manifest: Manifest, stores: Sequence[TargetStore], cqt: Optional[TargetStore]) -> None:
        """What checkpoints will say of the data; refuses a checkpoint's that says something else."""
        now, folders = describe_data(manifest, stores, cqt), [str(store.folder) for store in (*stores, cqt) if store is not None]
        check_same_data(self.state.trained_on, now, f"{self.cfg.data}/train.tsv", folders, self.cfg.accept_new_data)
        self.state.merge_state_dict({"trained_on": now})

    def go_on_from(self, kept: Mapping[str, Any], same_data: bool) -> None:
        """Called where a run is resumed, which fairseq does without the task's state: counts go on, and the data must be the checkpoint's.

        Args:
            kept: the state in the checkpoint.
            same_data: False where an epoch begins anew.
        """
        left_out = {"codebook_sizes"} if same_data else {"codebook_sizes", "trained_on"}
        self.state.merge_state_dict({name: value for name, value in kept.items() if name not in left_out})

    def _open_store(self, split: str, name: str, manifest, kind: str) -> TargetStore:
        return TargetStore(store_folder(self.get_label_dir(), split, name), manifest, kind, self.cfg.label_rate)

    def get_batch_iterator(self, dataset: MERTDataset, *args: Any, **options: Any) -> EpochBatchIterator:
        """fairseq's, with loader processes that end with their epoch; a new one is made for each (crops and batches are drawn anew)."""
        training, most = dataset is self.datasets.get("train"), options.get("max_tokens")
        if most is not None and most < dataset.longest:  # which fairseq would leave out
            name = "max_tokens" if training else "max_tokens_valid"
            raise MertError(f"dataset.{name}={most}: samples of a batch, and the longest crop has {dataset.longest}; set at least that")
        epochs = super().get_batch_iterator(dataset, *args, **options)
        return end_with_the_epoch(epochs, self.clock.time_waits) if training else end_with_the_epoch(epochs)

    def train_step(self, sample, model, criterion, optimizer, update_num: int, **options: Any):
        """fairseq's; the first call measures what the device can do."""
        if self.throughput is None:
            device = next(model.parameters()).device
            dtype = _matmul_dtype(model, optimizer, device)
            self.throughput = Throughput(device, dtype, distributed_utils.get_global_world_size(), self.state)
            if distributed_utils.get_global_rank() == 0:
                logger.info(versions_line(device))
            self.clock.restart()
            interruption.save_on_ctrl_c()
        self._update = update_num + 1
        self._seed_batch(update_num)
        try:
            loss, sample_size, logging_output = super().train_step(sample, model, criterion, optimizer, update_num, **options)
        except torch.OutOfMemoryError as error:  # fairseq would leave the batch out, for ever where all are as large
            raise MertError(
                f"out of GPU memory with a batch of {sample['net_input']['source'].numel()} samples ({str(error).splitlines()[0]}); lower "
                "dataset.max_tokens and raise optimization.update_freq in its place"
            ) from None
        self.throughput.note_memory()
        self.nonfinite.note(sample["net_input"]["ids"], loss)
        logging_output["stop_requested"] = float(interruption.received is not None)  # all processes hear of it at the same update
        return loss, sample_size, logging_output

    def _seed_batch(self, update_num: int) -> None:
        """Dropout follows from the batch's place in the update, whichever process computes it: fairseq seeds by the update alone."""
        place = self._batches_begun * distributed_utils.get_global_world_size() + distributed_utils.get_global_rank()
        if place:
            utils.set_torch_seed(self.cfg.seed + update_num + place * SEED_STEP)
        self._batches_begun += 1

    def begin_update(self) -> None:
        """Called by the trainer before an update's batches."""
        self._batches_begun = 0
        self.nonfinite.begin_update()

    def end_skipped_update(self) -> None:
        """Called by the trainer where an update took no step: neither its wait nor its work is in the next one's."""
        self.clock.lap()

    def judge_gradient(self, grad_norm, criterion) -> None:
        """Called by the trainer before the gradient is applied; may skip the update or end the run."""
        self.nonfinite.judge(grad_norm, criterion.nan_patience)

    def _files_of(self, batches: Sequence[Sequence[int]]) -> List[str]:
        dataset = self.datasets["train"]
        return [dataset.manifest.relative_path(dataset.row_of(int(item))[0]) for ids in batches for item in ids]

    def reduce_metrics(self, logging_outputs: List[Dict[str, Any]], criterion) -> None:
        """The criterion's metrics, and of training how fast it went."""
        super().reduce_metrics(logging_outputs, criterion)
        if not criterion.training:
            self.watch.count(logging_outputs)
        elif self.throughput is not None:
            self.watch.after_update(self._update)
            self.throughput.log(logging_outputs, self.clock.lap())
            self.stop_requested |= any(log.get("stop_requested", 0) > 0 for log in logging_outputs)
            if self.state.skipped_updates:
                metrics.log_derived("skipped_updates", lambda meters: self.state.skipped_updates)

    def post_validate(self, model, stats: Dict[str, Any], agg) -> None:
        """Called by fairseq's training before it logs a validation."""
        self.watch.after_validation(stats, [NUM_SPECIALS + size for size in self.codebook_sizes])

    def begin_epoch(self, epoch: int, model) -> None:
        """Lists the damaged files met so far."""
        bad = self.datasets["train"].bad_files if "train" in self.datasets else []
        if bad:
            logger.warning(f"{len(bad)} damaged files left out so far: {', '.join(bad)}")


def _matmul_dtype(model, optimizer, device: torch.device) -> torch.dtype:
    """What matrices are multiplied in; fairseq's common.amp is float16, on a GPU alone and where the model does not choose."""
    dtype = model.matmul_dtype(device)
    by_amp = isinstance(optimizer, AMPOptimizer) and device.type == "cuda" and dtype == torch.float32
    return torch.float16 if by_amp else dtype
