"""The task: settings that cannot work are refused first, and a checkpoint's task needs no label folder."""

import shutil

import numpy as np
import pytest
import torch
from fairseq import tasks
from omegaconf import OmegaConf

from mert_fairseq.errors import MertError
from mert_fairseq.frames import CONV_LAYERS
from mert_fairseq.tasks import MERTPretrainingConfig, MERTPretrainingTask

LENGTHS = (20_000, 9000, 3000)


def config(corpus, **changes):
    """Settings as fairseq hands them over, with what it interpolates from other groups filled in."""
    values = dict(
        data=str(corpus.manifests),
        label_dir=str(corpus.labels),
        labels=["codes"],
        max_sample_size=8000,
        min_sample_size=4000,
        seed=1,
        conv_feature_layers=[list(layer) for layer in CONV_LAYERS],
    )
    return OmegaConf.merge(OmegaConf.structured(MERTPretrainingConfig), {**values, **changes})


@pytest.fixture
def splits(corpus):
    """Train and valid with codes and CQT."""
    for split, lengths in (("train", LENGTHS), ("valid", LENGTHS[:2])):
        manifest = corpus.manifest(lengths, split, audio=True)
        corpus.store(manifest, split=split)
        corpus.store(manifest, split=split, kind="cqt")
    return corpus


def test_the_defaults_are_the_published_ones():
    defaults = MERTPretrainingConfig()
    assert (defaults.sample_rate, defaults.label_rate, defaults.normalize) == (24_000, 75.0, False)
    assert (defaults.max_sample_size, defaults.min_sample_size) == (120_000, 72_000)
    assert (defaults.pad_audio, defaults.random_crop, defaults.crops_per_file, defaults.max_bad_files) == (False, True, 1, 0)


def test_fairseq_knows_the_task_by_name(corpus):
    settings = OmegaConf.merge(config(corpus), {"_name": "mert_pretraining"})
    assert type(tasks.setup_task(settings)) is MERTPretrainingTask


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sample_rate": 16_000}, "task.sample_rate=16000, task.label_rate=75.0: only 24000 Hz and 75 Hz are supported"),
        ({"label_rate": 50.0}, "task.sample_rate=24000, task.label_rate=50.0: only 24000 Hz and 75 Hz are supported"),
        ({"label_rate": -1.0}, "task.label_rate=-1.0: only"),
        ({"normalize": True}, "task.normalize=true: MERT's audio is not normalised; set task.normalize=false"),
        ({"labels": ["codes", "other", "codes"]}, r"task.labels=\['codes', 'other', 'codes'\]: a store named twice"),
        ({"labels": []}, "task.labels is empty: name at least one code store"),
        ({"min_sample_size": 399}, r"need 400 <= task.min_sample_size \(399\) <= task.max_sample_size \(8000\)"),
        ({"min_sample_size": 8001}, r"need 400 <= task.min_sample_size \(8001\) <= task.max_sample_size \(8000\)"),
        ({"min_sample_size": None}, r"need 400 <= task.min_sample_size \(None\)"),
        ({"max_sample_size": None}, r"<= task.max_sample_size \(None\)"),
        ({"crops_per_file": -1}, "task.crops_per_file=-1 must be >= 0"),
        ({"max_bad_files": -1}, "task.max_bad_files=-1 must be >= 0"),
        ({"max_valid_crops": -1}, "task.max_valid_crops=-1 must be >= 0"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_read(corpus, changes, message):
    with pytest.raises(MertError, match=message) as caught:
        MERTPretrainingTask(config(corpus, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"min_sample_size": 400}, {"min_sample_size": 8000}, {"crops_per_file": 0}])
def test_settings_at_the_edge_are_taken(corpus, changes):
    task = MERTPretrainingTask(config(corpus, **changes))
    assert {key: task.cfg[key] if hasattr(task.cfg, "keys") else getattr(task.cfg, key) for key in changes} == changes


def test_labels_that_say_nothing_are_told_before_training(splits, caplog):
    task = MERTPretrainingTask(config(splits))
    task.load_dataset("train")
    assert "wherever it was looked at" not in caplog.text
    task.load_dataset("valid")
    assert "wherever it was looked at" not in caplog.text
    manifest = splits.manifest(LENGTHS, audio=True)
    arrays = [np.full_like(splits.codes(row, length), 5) for row, length in enumerate(LENGTHS)]
    shutil.rmtree(splits.labels / "train.codes")
    splits.store(manifest, arrays)
    task.load_dataset("train")
    assert "codebook 0 is code 5 wherever it was looked at (and 1 more like it); they teach nothing" in caplog.text


@pytest.mark.parametrize("split, name", [("train", "max_tokens"), ("valid", "max_tokens_valid")])
def test_a_batch_that_holds_no_crop(splits, split, name):
    task = MERTPretrainingTask(config(splits))
    for one in ("train", "valid"):
        task.load_dataset(one)
    dataset = task.dataset(split)
    assert dataset.longest == max(dataset.size(index) for index in range(len(dataset))) == 8000
    with pytest.raises(MertError, match=f"^dataset.{name}=7999: samples of a batch, and the longest crop has 8000; set at least that$"):
        task.get_batch_iterator(dataset=dataset, max_tokens=7999)
    for enough in (8000, None):
        assert len(task.get_batch_iterator(dataset=dataset, max_tokens=enough, max_sentences=1).next_epoch_itr()) == len(dataset)


def test_codebook_sizes_travel_with_the_checkpoint(splits):
    task = MERTPretrainingTask(config(splits))
    assert task.codebook_sizes == [1000, 16]
    state = task.state_dict()
    assert state == {"codebook_sizes": [1000, 16]}  # of plain types: a checkpoint loads with torch's safe loader
    shutil.rmtree(splits.labels)
    again = MERTPretrainingTask(config(splits, label_dir="/nowhere"))
    again.load_state_dict(state)
    assert again.codebook_sizes == [1000, 16]


def test_codebook_sizes_of_several_stores(splits):
    manifest = splits.manifest(LENGTHS)
    arrays = [np.zeros((63, 1))] * 3
    splits.store(manifest, arrays, name="other", width=1, num_classes=[7])
    assert MERTPretrainingTask(config(splits, labels=["other", "codes"])).codebook_sizes == [7, 1000, 16]


def test_labels_lie_with_the_manifests_if_no_folder_is_named(splits):
    shutil.copytree(splits.labels / "train.codes", splits.manifests / "train.codes")
    assert MERTPretrainingTask(config(splits, label_dir=None)).codebook_sizes == [1000, 16]


@pytest.mark.parametrize(
    "labels, message",
    [
        (["encodec"], "labels/train.encodec: no such folder of targets; make it with `mert labels`"),
        (["codes", "encodec"], "labels/train.encodec: no such folder of targets"),
        (["cqt"], r"train.cqt/shard-00000-of-00001.npy: holds cqt, codes wanted; check task.labels=\['cqt'\]"),
    ],
)
def test_labels_that_hold_no_codes(splits, labels, message):
    with pytest.raises(MertError, match=message):
        MERTPretrainingTask(config(splits, labels=labels)).codebook_sizes


def test_a_split_is_loaded_as_the_settings_say(splits):
    task = MERTPretrainingTask(config(splits, cqt_labels="cqt", crops_per_file=0, seed=7, max_bad_files=3, pad_audio=True))
    for split, crops in (("train", 3), ("valid", 3)):  # 20,000 samples hold two crops, 9,000 one, 3,000 are too few
        task.load_dataset(split)
        dataset = task.dataset(split)
        assert len(dataset) == crops and (dataset.seed, dataset.max_bad_files, dataset.crop.pad) == (7, 3, True)
        item = dataset[1]
        assert item["wave"].shape == (8000,) and item["codes"].shape == (24, 2) and item["cqt"].shape == (24, 3)
    assert task.dataset("train").crop.random and not task.dataset("valid").crop.random
    assert [task.dataset("valid").place_of(index)[1] for index in range(3)] == [0, 8000, 0]


def test_without_cqt_labels_no_cqt_is_read(splits):
    task = MERTPretrainingTask(config(splits))
    task.load_dataset("train")
    assert task.dataset("train")[0]["cqt"] is None


def test_random_crop_can_be_switched_off(splits):
    task = MERTPretrainingTask(config(splits, random_crop=False))
    task.load_dataset("train")
    assert not task.dataset("train").crop.random


@pytest.mark.parametrize("num_classes", [[1000, 17], [16, 1000], [1000]])
def test_splits_of_different_codebooks_are_refused(splits, num_classes):
    width = len(num_classes)
    manifest = splits.manifest(LENGTHS[:2], "valid")
    splits.store(manifest, [np.zeros((63, width))] * 2, split="valid", width=width, num_classes=num_classes)
    task = MERTPretrainingTask(config(splits))
    task.load_dataset("train")
    with pytest.raises(MertError) as caught:
        task.load_dataset("valid")
    assert str(caught.value) == f"valid: codebooks of {num_classes} entries, the model has [1000, 16]; use one teacher"


def test_other_codebooks_than_the_checkpoint_s_are_refused(splits):
    task = MERTPretrainingTask(config(splits))
    task.load_state_dict({"codebook_sizes": [1024] * 8})
    with pytest.raises(MertError, match=r"train: codebooks of \[1000, 16\] entries, the model has \[1024, 1024"):
        task.load_dataset("train")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data": "/nowhere"}, "/nowhere/train.tsv: no such manifest; write it with `mert manifest"),
        ({"cqt_labels": "spectrum"}, "labels/train.spectrum: no such folder of targets"),
        ({"cqt_labels": "codes"}, "shard-00000-of-00001.npy: holds codes, cqt wanted"),
        ({"min_sample_size": 30_000, "max_sample_size": 30_000}, "none of 3 files can be used: 3 shorter than 30000 samples"),
        ({"conv_feature_layers": "[(512, 10)]"}, "model.conv_feature_layers="),
    ],
)
def test_a_split_that_cannot_be_loaded(splits, changes, message):
    with pytest.raises(MertError, match=message):
        MERTPretrainingTask(config(splits, **changes)).load_dataset("train")


def test_damaged_files_are_listed_at_the_next_epoch(splits, caplog):
    task = MERTPretrainingTask(config(splits, max_bad_files=1))
    task.begin_epoch(1, torch.nn.Identity())  # nothing loaded, nothing to list
    task.load_dataset("train")
    task.begin_epoch(1, torch.nn.Identity())
    assert "left out" not in caplog.text
    (splits.audio / "train1.wav").write_bytes(b"no audio")
    assert task.dataset("train")[1] is None
    task.begin_epoch(2, torch.nn.Identity())
    assert "1 damaged files left out so far: train1.wav" in caplog.text
