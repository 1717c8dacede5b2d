"""Settings of the C library's allocator for training on a CPU.

glibc gives large blocks back to the kernel as soon as they are freed; a training step frees and asks for the same ones again and
spends a good part of its time in page faults. Told to keep them, a step of `mert_tiny` on two cores took 84 to 119 ms, before 118
to 123 ms. MERT_KEEP_FREED_MEMORY=0 in the environment leaves the allocator alone.

What is freed for good lies in pieces between what is held, and grows slowly; it is given back now and then.
"""

import ctypes
import gc
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
SWITCH = "MERT_KEEP_FREED_MEMORY"
KEEP = {
    "MALLOC_TRIM_THRESHOLD_": (M_TRIM_THRESHOLD, -1),  # never
    "MALLOC_TOP_PAD_": (M_TOP_PAD, 2**26),
    "MALLOC_MMAP_MAX_": (M_MMAP_MAX, 0),
}


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed blocks; what the environment sets stands. False where there is no glibc, or where it is not wanted."""
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    for variable, (option, value) in KEEP.items():
        if variable not in os.environ:
            mallopt(option, value)
    return True


def give_back_freed_memory() -> bool:
    """Gives the kernel all that is free at this moment; the next step faults its pages in again. False as above.

    Batches lie in reference cycles by then, which Python seldom looks for: settings that fairseq asks for and a configuration does not have
    end in exceptions that hold the frames they passed.
    """
    malloc_trim = _function("malloc_trim")
    if malloc_trim is None:
        return False
    gc.collect()
    return bool(malloc_trim(0))


def _function(name: str):
    """Of glibc; None where there is none, or where the allocator is to be left alone."""
    if not sys.platform.startswith("linux") or os.environ.get(SWITCH) == "0":
        return None
    return getattr(ctypes.CDLL(None), name, None)
