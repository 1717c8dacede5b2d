"""Progress on the terminal, of work that has several parts."""

import sys

from tqdm import tqdm


class Bars:
    """A progress bar for each thing that is being done, one after the other."""

    def __init__(self) -> None:
        self._what, self._bar = "", None

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, what: str, done: int, total: int) -> None:
        """Moves the bar of `what`, after closing that of something else."""
        if what != self._what:
            self.__exit__()
            self._what, self._bar = what, tqdm(total=total, desc=what, leave=False, disable=not sys.stderr.isatty())
        self._bar.total = total
        self._bar.update(done - self._bar.n)
