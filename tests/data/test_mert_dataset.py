"""Crops and batches: what belongs together stays together, and which items there are."""

import logging

import numpy as np
import pytest
import torch
from made_crops import CROP, LENGTHS, places, row_and_start

from mert_fairseq.data.crop_settings import CropSettings
from mert_fairseq.data.mert_dataset import MERTDataset
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.frames import CONV_LAYERS

# A crop's arrays belong together.


@pytest.mark.parametrize("per_file", [0, 1, 3])
@pytest.mark.parametrize("crop_samples, frames", [(8000, 24), (7600, 23), (4567, 14)])
def test_wave_codes_and_cqt_of_a_crop_are_of_one_place(build, per_file, crop_samples, frames):
    dataset = build(num_shards=2, per_file=per_file, max_samples=crop_samples)
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            item = dataset[index]
            row, start = row_and_start(item["wave"])
            length = min(crop_samples, LENGTHS[row])
            assert (row, start, length) == dataset.place_of(index) and start % 320 == 0 and item["id"] == index
            np.testing.assert_array_equal(item["wave"], dataset_wave(row, start, length))
            expected = np.arange(start // 320, start // 320 + frames)
            assert item["codes"].dtype == torch.int64 and item["codes"].shape == (frames, 2)
            assert item["codes"][:, 0].tolist() == expected.tolist() and set(item["codes"][:, 1].tolist()) == {row}
            assert item["cqt"].shape == (frames, 3)
            assert item["cqt"][:, 0].tolist() == expected.tolist() and set(item["cqt"][:, 1].tolist()) == {row}


def dataset_wave(row, start, length):
    return ((row << 20) + np.arange(start, start + length)).astype(np.float32) / np.float32(2**24)


def test_five_seconds_have_374_frames(build):
    item = build((130_000,), max_samples=120_000)[0]
    assert item["wave"].shape == (120_000,) and item["codes"].shape == (374, 2) and item["cqt"].shape == (374, 3)


@pytest.mark.parametrize("beyond, last", [(0, 0), (319, 0), (320, 320), (959, 640), (960, 960)])
def test_crops_reach_the_last_place_that_fits_and_no_further(build, beyond, last):
    dataset = build((CROP + beyond,))
    starts = set()
    for epoch in range(1, 60):
        dataset.set_epoch(epoch)
        starts.add(dataset.place_of(0)[1])
    assert starts == set(range(0, last + 1, 320))
    dataset = build((CROP + beyond,), random=False, per_file=2)
    assert dataset.place_of(1)[1] == last
    assert dataset[1]["codes"].shape == (24, 2) and dataset[1]["cqt"].shape == (24, 3)


def test_codebooks_of_several_stores_lie_side_by_side(corpus):
    manifest = corpus.manifest((9000, 10_000), audio=True)
    other = [np.full((40, 2), 5 + row) for row in range(2)]
    folders = corpus.store(manifest), corpus.store(manifest, other, name="other")
    stores = [TargetStore(folder, manifest, "codes", 75.0) for folder in folders]
    dataset = MERTDataset(manifest, stores, None, CropSettings(CROP, 1000), CONV_LAYERS)
    item = dataset[1]
    assert item["codes"].shape == (24, 4) and item["codes"][0].tolist() == [item["codes"][0, 0].item(), 1, 6, 6]
    assert item["cqt"] is None


# Which items there are.


@pytest.mark.parametrize(
    "per_file, rows, evenly",
    [
        (0, [0, 1, 1, 2, 2, 2, 2], [0, 0, 24_000, 0, 24_000, 48_000, 72_000]),
        (1, [0, 1, 2], [0, 0, 0]),
        (3, [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 24_000, 35_840, 0, 24_000, 48_000]),
    ],
)
def test_crops_of_a_file(build, per_file, rows, evenly):
    """24,000 samples fit once into 24,000, twice into 60,000 and four times into 100,000."""
    lengths = (24_000, 60_000, 100_000)
    dataset = build(lengths, max_samples=24_000, per_file=per_file)
    assert len(dataset) == len(rows) and [row for row, _, _ in places(dataset)] == rows
    assert [dataset.row_of(index) for index in range(len(rows))] == [(row, rows[:n].count(row)) for n, row in enumerate(rows)]
    fixed = build(lengths, max_samples=24_000, per_file=per_file, random=False)
    assert places(fixed) == [(row, start, 24_000) for row, start in zip(rows, evenly)]
    fixed.set_epoch(7)
    assert [start for _, start, _ in places(fixed)] == evenly


def test_crops_that_are_no_multiple_of_the_hop_start_on_the_grid(build):
    dataset = build((40_000,), max_samples=12_500, per_file=0, random=False)
    assert places(dataset) == [(0, 0, 12_500), (0, 12_480, 12_500), (0, 24_960, 12_500)]


def test_short_files_and_files_without_targets_are_left_out_and_counted(build, corpus, caplog):
    lengths = (9000, 4999, 5000, 9000, 9000)
    codes = [corpus.codes(row, length) for row, length in enumerate(lengths)]
    codes[3] = codes[3][:0]
    with caplog.at_level(logging.INFO):
        dataset = build(lengths, codes=codes, min_samples=5000)
    assert [row for row, _, _ in places(dataset)] == [0, 2, 4]
    assert "5 files, 1 shorter than 5000 samples (task.min_sample_size), 1 without targets" in caplog.text
    assert row_and_start(dataset[1]["wave"])[0] == 2 and dataset[1]["wave"].shape == (5000,)


def test_no_file_that_can_be_used(build, corpus):
    with pytest.raises(MertError, match="none of 2 files can be used: 2 shorter than 10000 samples .*task.min_sample_size"):
        build((9999, 5000), min_samples=10_000)
    with pytest.raises(MertError, match="none of 2 files can be used: 1 shorter than 6000 samples .*, 1 without targets"):
        build((9999, 5000), min_samples=6000, codes=[np.zeros((0, 2)), corpus.codes(1, 5000)])


@pytest.mark.parametrize("missing, refused", [(0, False), (1, False), (2, True)])
def test_targets_that_do_not_cover_the_audio(build, corpus, missing, refused):
    """9,100 samples have 29 frames of codes, the last one of 140 samples: it may be missing, another may not."""
    codes = [corpus.codes(0, 8000), corpus.codes(1, 9100)[: 29 - missing]]
    if not refused:
        assert build((8000, 9100), codes=codes)[1]["codes"].shape == (24, 2)
        return
    with pytest.raises(MertError) as caught:
        build((8000, 9100), codes=codes)
    assert "train.codes: row 1 (train1.wav) has 27 frames, its audio needs 28; delete the folder" in str(caught.value)


def test_sizes_are_those_of_the_crops(build):
    dataset = build((9000, 5000, 30_000), per_file=2)
    assert [dataset.size(index) for index in range(6)] == [8000, 8000, 5000, 5000, 8000, 8000]
    assert dataset.num_tokens_vec(np.array([5, 2, 0, 3])).tolist() == [8000, 5000, 8000, 5000]
    assert [dataset.num_tokens(index) for index in (5, 2)] == [8000, 5000]
    assert [len(dataset[index]["wave"]) for index in range(6)] == [dataset.size(index) for index in range(6)]


# Batches.


def test_class_ids_are_codes_behind_the_four_specials(build):
    dataset = build((20_000, 20_000), random=False)
    batch = dataset.collater([dataset[1], dataset[0]])
    assert batch["id"].tolist() == batch["net_input"]["ids"] == [1, 0]
    assert len(batch["target_list"]) == 2 and batch["target_list"][0].dtype == torch.int64
    assert batch["target_list"][0].tolist() == [list(range(4, 28))] * 2
    assert batch["target_list"][1].tolist() == [[5] * 24, [4] * 24]
    assert batch["net_input"]["padding_mask"] is None
    assert batch["net_input"]["source"].dtype == torch.float32 and batch["net_input"]["cqt_targets"].shape == (2, 24, 3)


def test_without_stored_cqt_the_wave_keeps_its_precision_in_half_precision_modes(build):
    dataset = build((20_000,), with_cqt=False)
    batch = dataset.collater([dataset[0]])
    assert batch["net_input"]["source"].dtype == torch.float64 and "cqt_targets" not in batch["net_input"]
    assert torch.equal(batch["net_input"]["source"][0].float(), dataset[0]["wave"])


def test_unequal_crops_are_cut_to_the_shortest_on_the_grid(build):
    """5,000 samples: 15 hops (4,800 samples) are kept, 14 frames of the convolution stack."""
    dataset = build((20_000, 5000, 6000), random=False)
    batch = dataset.collater([dataset[0], dataset[1], dataset[2]])
    assert batch["net_input"]["source"].shape == (3, 4800) and batch["net_input"]["padding_mask"] is None
    assert batch["target_list"][0].tolist() == [list(range(4, 18))] * 3
    assert batch["net_input"]["cqt_targets"][..., 0].tolist() == [list(range(14))] * 3
    assert [row_and_start(wave) for wave in batch["net_input"]["source"]] == [(0, 0), (1, 0), (2, 0)]


def test_equal_crops_are_not_cut(build):
    dataset = build((5000, 5000), random=False)
    assert dataset.collater([dataset[0], dataset[1]])["net_input"]["source"].shape == (2, 5000)


def test_unequal_crops_can_be_padded(build):
    dataset = build((20_000, 5000, 8000), random=False, pad=True)
    batch = dataset.collater([dataset[1], dataset[0], dataset[2]])
    net_input = batch["net_input"]
    assert net_input["source"].shape == net_input["padding_mask"].shape == (3, 8000)
    assert net_input["padding_mask"].dtype == torch.bool
    assert net_input["padding_mask"].int().argmax(dim=1).tolist() == [5000, 0, 0]
    assert net_input["padding_mask"].sum(dim=1).tolist() == [3000, 0, 0]
    assert (net_input["source"][0, 5000:] == 0).all() and torch.equal(net_input["source"][0, :5000], dataset[1]["wave"])
    assert torch.equal(net_input["source"][1], dataset[0]["wave"])
    frames = 15  # of 5,000 samples; the batch has 24
    assert batch["target_list"][0].tolist() == [[*range(4, 4 + frames), *[1] * (24 - frames)], [*range(4, 28)], [*range(4, 28)]]
    assert (net_input["cqt_targets"][0, frames:] == 0).all()
    assert net_input["cqt_targets"][0, :frames, 0].tolist() == list(range(frames))


def test_padding_equal_crops_makes_no_mask(build):
    dataset = build((20_000, 8000), pad=True)
    assert dataset.collater([dataset[0], dataset[1]])["net_input"]["padding_mask"] is None


def test_a_batch_of_nothing_is_empty(build):
    assert build().collater([None, None]) == {}
