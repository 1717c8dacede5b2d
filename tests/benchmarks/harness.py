"""What the benchmarks share: timing in turn, and one printed line that fails below its bar."""

import sys
import time
from statistics import median
from typing import Any, Callable, Dict, Tuple


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turn(ours: Callable[[], Any], reference: Callable[[], Any], rounds: int, ours_per_round: int = 1) -> Tuple[float, float]:
    """Median seconds of both, called in turn so that a busy machine slows both; call each once before if the first is special."""
    ours_s, reference_s = [], []
    for _ in range(rounds):
        reference_s.append(seconds(reference))
        ours_s.extend(seconds(ours) for _ in range(ours_per_round))
    return median(ours_s), median(reference_s)


def conclude(results: Dict[str, Any]) -> None:
    """Prints the figures on one line; exits with 1 where `ratio` is under `bar`, or a figure above `most[...]`."""
    most: Dict[str, float] = results.pop("most", {})
    print(", ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in results.items()), flush=True)
    missed = [f"ratio {results['ratio']:.3g} under {results['bar']:g}"] if results.get("ratio", 0) < results.get("bar", 0) else []
    missed += [f"{name} {results[name]:.3g} above {limit:g}" for name, limit in most.items() if results[name] > limit]
    if missed:
        sys.exit(f"{results['name']}: {'; '.join(missed)}")
