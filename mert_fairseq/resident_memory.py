"""How much memory this process holds, as Linux tells it."""

from pathlib import Path
from typing import Optional

STATUS = Path("/proc/self/status")


def resident_bytes(name: str) -> Optional[int]:
    """Bytes; None where the system does not tell.

    Args:
        name: "VmRSS", now, or "VmHWM", the most so far. That one is of this program alone, getrusage's is also of what started it.
    """
    if not STATUS.exists():
        return None
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
