"""Memory of all processes of a session, sampled, and the line through the samples."""

import os
import threading
import time
from pathlib import Path
from typing import List, Sequence, Tuple

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
SESSION, RESIDENT = 3, 21  # fields of /proc/PID/stat behind the name


def resident_mb(session: int) -> float:
    """Memory that the processes of a session hold, those that outlived their parent too; what they share counts for each."""
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended in between
            continue
        if int(fields[SESSION]) == session:
            pages += int(fields[RESIDENT])
    return pages * PAGE_MB


class MemoryWatch:
    """Samples (hours since its start, MB) of one session's processes until it is stopped.

    Args:
        every_s: between samples.
    """

    def __init__(self, session: int, every_s: float = 1.0):
        self.samples: List[Tuple[float, float]] = []
        self._session, self._every_s, self._ended = session, every_s, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        started = time.monotonic()
        while not self._ended.wait(self._every_s):
            held = resident_mb(self._session)
            if held:
                self.samples.append(((time.monotonic() - started) / 3600, held))

    def stop(self) -> List[Tuple[float, float]]:
        self._ended.set()
        self._thread.join()
        return self.samples


def slope(points: Sequence[Tuple[float, float]]) -> float:
    """Of the line through the points by Theil and Sen, the median of the slopes of all pairs: single peaks do not move it."""
    points = list(points)[:: max(1, len(points) // 600)]
    slopes = [(y - b) / (x - a) for place, (x, y) in enumerate(points) for a, b in points[:place] if x > a]
    return sorted(slopes)[len(slopes) // 2] if slopes else 0.0
