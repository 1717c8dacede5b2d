"""Loaders of epochs that ended hold nothing, whoever still has them."""

import os
import time

import torch
from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator

from mert_fairseq.data.loader_processes import end_with_the_epoch


class Zeros(FairseqDataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.zeros(1000)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def settled_descriptors(most: int) -> int:
    """Those open once they are no more than `most`, or after ten seconds: a queue's thread closes its pipe a moment later."""
    give_up = time.monotonic() + 10
    while open_descriptors() > most and time.monotonic() < give_up:
        time.sleep(0.01)
    return open_descriptors()


def test_an_epoch_that_ended_holds_no_pipes_and_no_shared_memory():
    """fairseq's iterator over epochs lies in a cycle, which the garbage collector finds late."""
    held, before = [], None
    for _ in range(4):
        epochs = end_with_the_epoch(EpochBatchIterator(Zeros(), torch.stack, [[0, 1], [2, 3], [4, 5]], num_workers=1))
        batches = epochs.next_epoch_itr(shuffle=False)
        assert sum(len(batch) for batch in batches) == 6
        held.append((epochs, batches))
        before = before or open_descriptors()  # the first of a process opens what all of them share
    assert settled_descriptors(before) <= before
