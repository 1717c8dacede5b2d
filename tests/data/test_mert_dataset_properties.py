"""Whatever is cropped and batched, sample 320 t, frame t of the codes and frame t of the CQT stay together."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mert_fairseq.class_ids import NUM_SPECIALS, PAD
from mert_fairseq.data.crop_settings import CropSettings
from mert_fairseq.data.mert_dataset import MERTDataset
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import CONV_LAYERS, HOP, num_conv_frames

LENGTHS = st.lists(st.integers(400, 20_000), min_size=1, max_size=5)
CROPS = st.builds(
    CropSettings,
    max_samples=st.integers(400, 12_000),
    min_samples=st.just(400),
    per_file=st.integers(0, 3),
    random=st.booleans(),
    pad=st.booleans(),
)


def dataset_of(corpus, lengths, crop, num_shards, seed):
    manifest = corpus.manifest(lengths, audio=True)
    codes = TargetStore(corpus.store(manifest, num_shards=num_shards), manifest, "codes", 75.0)
    cqt = TargetStore(corpus.store(manifest, kind="cqt", num_shards=num_shards), manifest, "cqt", 75.0)
    return MERTDataset(manifest, [codes], cqt, crop, CONV_LAYERS, seed)


def check_item(corpus, dataset, lengths, index):
    """Row and place, as the first sample tells them, are those of the targets; they are inside the file and on the grid."""
    item = dataset[index]
    wave, codes, cqt = (item[name].numpy() for name in ("wave", "codes", "cqt"))
    row, start = divmod(round(float(wave[0]) * 2**24), 2**20)
    assert start % HOP == 0 and start + len(wave) <= lengths[row]
    assert len(wave) == min(dataset.crop.max_samples, lengths[row]) == dataset.size(index)
    np.testing.assert_array_equal(wave, corpus.wave(row, lengths[row])[start : start + len(wave)])
    frames = slice(start // HOP, start // HOP + num_conv_frames(len(wave)))
    np.testing.assert_array_equal(codes, corpus.codes(row, lengths[row])[frames])
    np.testing.assert_array_equal(cqt, corpus.cqt(row, lengths[row])[frames])
    return item


def check_batch(items, batch, pad):
    """Each clip of the batch begins as its item does; what is added is padding, and said to be."""
    source, mask = batch["net_input"]["source"], batch["net_input"]["padding_mask"]
    targets, spectra = torch.stack(batch["target_list"], dim=-1), batch["net_input"]["cqt_targets"]
    frames = num_conv_frames(source.size(1))
    assert targets.shape[1] == spectra.shape[1] == frames
    for place, item in enumerate(items):
        own, length = min(len(item["wave"]), source.size(1)), source.size(1)
        kept = min(len(item["codes"]), frames)
        assert source[place, :own].equal(item["wave"][:own]) and not source[place, own:].any()
        assert targets[place, :kept].equal(item["codes"][:kept] + NUM_SPECIALS) and (targets[place, kept:] == PAD).all()
        assert spectra[place, :kept].equal(item["cqt"][:kept]) and not spectra[place, kept:].any()
        assert own == length if mask is None else mask[place].tolist() == [False] * own + [True] * (length - own)
    assert pad or mask is None


@settings(max_examples=40)
@given(LENGTHS, CROPS, st.integers(1, 2), st.integers(0, 2**31), st.integers(1, 100))
def test_crops_and_batches(corpus, lengths, crop, num_shards, seed, epoch):
    with tempfile.TemporaryDirectory() as folder:
        fresh = type(corpus)(Path(folder))
        dataset = dataset_of(fresh, lengths, crop, min(num_shards, len(lengths)), seed)
        dataset.set_epoch(epoch)
        items = [check_item(fresh, dataset, lengths, index) for index in range(len(dataset))]
        order = dataset.ordered_indices()
        assert sorted(order.tolist()) == list(range(len(dataset)))
        assert (np.diff(dataset.num_tokens_vec(order)) <= 0).all()
        check_batch(items, dataset.collater(items), crop.pad)


@settings(max_examples=40)
@given(LENGTHS, CROPS, st.integers(0, 2**31), st.integers(1, 100))
def test_every_file_is_heard_as_often_as_wanted(corpus, lengths, crop, seed, epoch):
    with tempfile.TemporaryDirectory() as folder:
        dataset = dataset_of(type(corpus)(Path(folder)), lengths, crop, 1, seed)
        dataset.set_epoch(epoch)
        rows = [dataset.place_of(index)[0] for index in range(len(dataset))]
        wanted = [crop.per_file or max(1, length // crop.max_samples) for length in lengths]
        assert np.bincount(rows, minlength=len(lengths)).tolist() == wanted
