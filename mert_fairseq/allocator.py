"""Settings of the C library's allocator for training on a CPU.

glibc gives large blocks back to the kernel as soon as they are freed; a training step frees and asks for the same ones again and
spends a good part of its time in page faults. Told to keep them, a step of `mert_tiny` on two cores took 84 to 119 ms, before 118
to 123 ms. MERT_KEEP_FREED_MEMORY=0 in the environment leaves the allocator alone.
"""

import ctypes
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
    if not sys.platform.startswith("linux") or os.environ.get(SWITCH) == "0":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    for variable, (option, value) in KEEP.items():
        if variable not in os.environ:
            mallopt(option, value)
    return True
