"""Loader processes that end with their epoch.

fairseq stops at an epoch's last batch, before torch's loader knows that it was the last, and so before it ends its processes.
They stay until the garbage collector finds them, which then waits five seconds for each: with six of them half a minute an epoch.
Reading on past the last batch is what tells the loader.
"""

from typing import Any, Callable, Iterator

from fairseq.data.iterators import CountingIterator, EpochBatchIterator


class _ReadToTheEnd:
    """An iterator of `num_batches` batches that looks past the last one as it hands it out."""

    def __init__(self, batches: Iterator[Any], num_batches: int) -> None:
        self._batches, self._left = batches, num_batches

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = next(self._batches)
        self._left -= 1
        if self._left == 0:
            next(self._batches, None)
            self._batches = iter(())  # the loader's shared memory, pipes and semaphores go now, whoever still holds this
        return batch


class _EndingEpochs(EpochBatchIterator):
    """fairseq's, whose loaders are read to their end."""

    watch: Callable[[Iterator[Any]], Iterator[Any]]

    def _get_iterator_for_epoch(self, *args: Any, **options: Any) -> CountingIterator:
        batches = super()._get_iterator_for_epoch(*args, **options)
        if batches is not None:
            batches._itr = self.watch(_ReadToTheEnd(batches._itr, len(batches) - batches.n))
        return batches


def end_with_the_epoch(
    epochs: EpochBatchIterator, watch: Callable[[Iterator[Any]], Iterator[Any]] = lambda batches: batches
) -> EpochBatchIterator:
    """Makes it one over epochs each of whose loaders is read to its end, in place; `watch` wraps each epoch's batches.

    Not with a read-ahead thread (dataset.data_buffer_size above 0), which stops at the last batch as well.
    """
    epochs.__class__, epochs.watch = _EndingEpochs, watch
    epochs.persistent_workers = epochs.reuse_dataloader = False  # a new loader for each epoch
    return epochs
