"""Arrays of numpy as they may be found in a file that somebody else made: no pickles, no archives, nothing beyond the file's end."""

import tokenize
from pathlib import Path

import numpy as np

#: What numpy's reader of headers has been seen to raise on damaged ones, besides ValueError and OSError.
DAMAGED = (EOFError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError, tokenize.TokenError)


def map_array(path: Path) -> np.ndarray:
    """The array in a .npy file, memory-mapped: whatever size its header claims, nothing is allocated.

    Raises:
        OSError: missing (FileNotFoundError), or not to be read.
        ValueError: not a whole plain array.
    """
    with open(path, "rb") as file:
        start = file.read(len(np.lib.format.MAGIC_PREFIX))
    if start != np.lib.format.MAGIC_PREFIX:
        raise ValueError("no array of numpy")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED as error:
        raise ValueError(f"its header cannot be read ({type(error).__name__})") from None
