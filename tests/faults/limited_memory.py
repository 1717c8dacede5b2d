"""A limit on memory while a damaged or malicious file is read: whatever it claims, no more is had."""

import resource
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES = 2 << 30  # of address space beyond what is in use; the files have some kilobytes


@contextmanager
def little_memory():
    """More than that raises MemoryError, or torch's own RuntimeError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
