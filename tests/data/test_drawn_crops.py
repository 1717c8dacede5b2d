"""Everything drawn follows from seed, epoch and item alone: the places of crops, and their order."""

import numpy as np
import pytest
from made_crops import CROP, assert_same, batches, places


def test_crops_follow_from_seed_epoch_and_item(build):
    dataset = build(per_file=3)
    first = places(dataset)
    dataset.set_epoch(2)
    second = places(dataset)
    dataset.set_epoch(1)
    assert places(dataset) == first  # whatever was asked for in between
    assert places(build(per_file=3)) == first  # as after a resume
    long = [index for index in range(len(dataset)) if dataset.row_of(index)[0] == 2]  # 73 places to choose from
    assert [first[index] for index in long] != [second[index] for index in long]
    assert len({first[index] for index in long}) > 1
    assert places(build(per_file=3, seed=2)) != first


def test_crops_are_drawn_evenly(build):
    dataset = build((CROP + 9 * 320,))
    counts = np.zeros(10)
    for epoch in range(2000):
        dataset.set_epoch(epoch)
        counts[dataset.place_of(0)[1] // 320] += 1
    assert counts.min() > 140 and counts.max() < 260  # 200 expected, standard deviation 13


def test_order_follows_from_seed_and_epoch_longest_first(build):
    dataset = build((9000,) * 20 + (5000, 4000, 3000))
    first = dataset.ordered_indices().tolist()
    assert sorted(first) == list(range(23)) and first[20:] == [20, 21, 22]
    assert first == dataset.ordered_indices().tolist()
    dataset.set_epoch(2)
    assert sorted(dataset.ordered_indices().tolist()) == sorted(first) and dataset.ordered_indices().tolist() != first
    dataset.set_epoch(1)
    assert dataset.ordered_indices().tolist() == first
    assert build((9000,) * 20 + (5000, 4000, 3000), seed=2).ordered_indices().tolist() != first


def test_a_sample_is_the_first_crops_of_the_order(build):
    everything, sample = build((9000,) * 20 + (5000,)), build((9000,) * 20 + (5000,), most=7)
    assert sample.ordered_indices().tolist() == everything.ordered_indices().tolist()[:7]
    assert build((9000,) * 3, most=7).ordered_indices().size == 3


@pytest.mark.parametrize("with_cqt", [True, False])
def test_batches_are_the_same_with_any_number_of_workers(build, with_cqt):
    dataset = build(per_file=0, with_cqt=with_cqt)
    alone = {}
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        alone[epoch] = batches(dataset)
        for workers in (1, 2):
            assert_same(batches(dataset, workers), alone[epoch])
    assert [batch["id"].tolist() for batch in alone[1]] != [batch["id"].tolist() for batch in alone[2]]
    assert dataset.can_reuse_epoch_itr_across_epochs is False  # or fairseq would not ask for the second epoch's
