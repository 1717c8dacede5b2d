"""Crops and batches of made-up recordings, as the tests of the data set look at them."""

import torch
from torch.utils.data import DataLoader

CROP = 8000  # samples: 25 hops, 24 frames of the convolution stack
LENGTHS = (20_000, 9000, 31_234, 8000, 12_345)


def row_and_start(wave):
    """What the first sample of a made-up wave says of its place."""
    return divmod(round(float(wave[0]) * 2**24), 2**20)


def places(dataset):
    return [dataset.place_of(index) for index in range(len(dataset))]


def batches(dataset, workers=0, size=3):
    """All batches in the order of the epoch, through torch's loader as fairseq uses it."""
    order = dataset.ordered_indices().tolist()
    groups = [order[first : first + size] for first in range(0, len(order), size)]
    return list(DataLoader(dataset, batch_sampler=groups, collate_fn=dataset.collater, num_workers=workers))


def flat(batch):
    """A batch's tensors by name."""
    tensors = {name: torch.as_tensor(value) for name, value in batch["net_input"].items() if value is not None}
    return {**tensors, "id": batch["id"], **{f"target {k}": target for k, target in enumerate(batch["target_list"])}}


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        one, other = flat(one), flat(other)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
