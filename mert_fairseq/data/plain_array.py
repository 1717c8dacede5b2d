"""numpy's .npy files, whatever is wrong with them."""

import os
import tokenize
import zipfile
from typing import Optional, Union

import numpy as np

from mert_fairseq.errors import MertError

#: What numpy has been seen to raise on damaged headers, besides OSError and ValueError.
DAMAGED = (EOFError, TypeError, OverflowError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError, zipfile.BadZipFile)


def load_array(path: Union[str, "os.PathLike[str]"], mmap_mode: Optional[str] = None) -> np.ndarray:
    """The array of a .npy file. Raises OSError, or ValueError for one that is damaged or no array; nothing pickled is read."""
    try:
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except DAMAGED as error:
        raise ValueError(f"no array can be read: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive of arrays, one array wanted")
    return array


def kept_array(path: Union[str, "os.PathLike[str]"], mmap_mode: str) -> np.ndarray:
    """An array of what was computed before. Raises MertError for one that is damaged."""
    try:
        return load_array(path, mmap_mode)
    except (OSError, ValueError) as error:
        raise MertError(f"{path}: cannot be read ({error}); remove it, and the same command makes it again") from None
