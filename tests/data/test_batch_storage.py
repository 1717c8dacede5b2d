"""Batches in one storage, which loader processes hand over at once."""

import made_crops
import torch

from mert_fairseq.data.batch_storage import lie_together


def storages(batch):
    return {tensor.untyped_storage().data_ptr() for tensor in (batch["id"], batch["net_input"]["source"], *batch["target_list"])}


def made_batch():
    codes = torch.arange(2 * 5 * 3).view(2, 5, 3)
    wave = torch.linspace(-1, 1, 2 * 7, dtype=torch.float64).view(2, 7)
    net_input = {"source": wave, "padding_mask": None, "ids": [4, 9]}
    return {"id": torch.tensor([4, 9]), "net_input": net_input, "target_list": list(codes.unbind(-1))}


def test_values_types_and_shapes_stay():
    before, after = made_batch(), lie_together(made_batch())
    assert len(storages(before)) == 3 and len(storages(after)) == 1
    assert after["net_input"]["ids"] == [4, 9] and after["net_input"]["padding_mask"] is None
    pairs = [(before["id"], after["id"]), (before["net_input"]["source"], after["net_input"]["source"])]
    for one, other in [*pairs, *zip(before["target_list"], after["target_list"], strict=True)]:
        assert one.dtype == other.dtype and one.equal(other)


def test_odd_sizes_do_not_overlap():
    sizes = range(1, 30)
    after = lie_together({size: torch.full((size,), size, dtype=torch.bool if size % 2 else torch.float32) for size in sizes})
    assert all(after[size].float().eq(size if size % 2 == 0 else 1).all() for size in sizes)
    assert lie_together({}) == {}


def test_loader_processes_hand_over_one_storage(build):
    here, there = (made_crops.batches(build(), workers) for workers in (0, 1))
    made_crops.assert_same(here, there)
    assert all(len(storages(batch)) == 1 for batch in there) and all(len(storages(batch)) > 1 for batch in here)
