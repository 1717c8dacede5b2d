"""What the benchmarks share: timing in turn, and records of what was measured against its bar."""

import json
import os
import time
from pathlib import Path
from statistics import median
from typing import Any, Callable, Optional, Tuple

#: glibc told to keep its memory, so that page faults cost neither side anything.
TUNED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(10**11)}
RESULTS = "MERT_BENCHMARK_RESULTS"  # file that records are appended to, one JSON object a line


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_mb() -> float:
    """Most megabytes that this program held so far; unlike getrusage's figure not what was there before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise KeyError("VmHWM")


def reset_peak() -> None:
    """From here on `peak_mb` is the most that is held from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def in_turn(ours: Callable[[], Any], reference: Callable[[], Any], rounds: int, ours_per_round: int = 1) -> Tuple[float, float]:
    """Median seconds of both, called in turn so that a busy machine slows both; call each once before if the first is special."""
    ours_s, reference_s = [], []
    for _ in range(rounds):
        reference_s.append(seconds(reference))
        ours_s.extend(seconds(ours) for _ in range(ours_per_round))
    return median(ours_s), median(reference_s)


def record(
    what: str, ours: float, reference: Optional[float] = None, bar: Optional[float] = None, unit: str = "",
    least: Optional[float] = None, most: Optional[float] = None,
) -> bool:
    """Prints one figure and keeps it; returns whether it holds.

    Args:
        ours, reference: in `unit`, less is better; their ratio reference / ours is to reach `bar`.
        least, most: bounds of `ours` where there is no reference.
    """
    ratio = None if reference is None else reference / ours
    ok = (bar is None or ratio >= bar) and (least is None or ours >= least) and (most is None or ours <= most)
    bound = next((f"{sign}{value:g}" for sign, value in ((">= ", bar), (">= ", least), ("<= ", most)) if value is not None), "")
    row = {"what": what, "ours": ours, "reference": reference, "unit": unit, "ratio": ratio, "bar": bound, "ok": ok}
    print(line_of(row), flush=True)
    if RESULTS in os.environ:
        with open(os.environ[RESULTS], "a", encoding="utf-8") as results:
            results.write(json.dumps(row) + "\n")
    return ok


def line_of(row: dict) -> str:
    """One line of the table."""
    ours, reference, ratio = (("" if row[key] is None else f"{row[key]:.4g}") for key in ("ours", "reference", "ratio"))
    unit = f" {row['unit']}" if row["unit"] else ""
    reference += unit if reference else ""
    return f"{row['what']:62} {ours + unit:>14} {reference:>14} {ratio:>8} {row['bar']:>10} {'ok' if row['ok'] else 'MISSED':>7}"
