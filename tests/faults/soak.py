"""A long training of mert_tiny that is killed every few minutes, beside one that is not: `make soak`, or this file with --minutes.

Both get the same command, again and again until it says that it is done. At the end the killed run must have logged the numbers of the
other, its checkpoint must hold the same tensors, and memory must not have grown. Each takes one thread; they run side by side.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Tuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))

import training_runs as runs  # noqa: E402
from process_memory import MemoryWatch, slope  # noqa: E402
from same_numbers import first_difference  # noqa: E402

from mert_fairseq.report.run_log import LOG_NAME, read_run_log  # noqa: E402

SAVED_EVERY = 50  # updates: what a kill can cost
SETTINGS = (
    "+lr_scheduler.total_num_update=1000000",  # whatever the number of updates is
    "common.log_interval=1",
    f"checkpoint.save_interval_updates={SAVED_EVERY}",
    "task.max_valid_crops=12",  # a validation comes with each checkpoint
    "model.autocast=none",
    "model.dropout=0.1",
    "model.mixture_prob=0.5",
)
CALIBRATION = 40  # updates whose speed says how many fit into the time
LOST_SHARE = 0.25  # of the time, to kills, starts, and the other run's noise
KILLED_AFTER = (0.5, 1.5)  # times --kill-minutes, drawn evenly
MAX_GROWTH_MB = 40.0  # of memory in an hour, along the line through the samples
SETTLED_H = 5 / 60  # after the start of an undisturbed run: until then buffers and malloc find their size
LEAST_H = 10 / 60  # of samples, below which a slope says nothing and is printed only
AGE_H = (30 / 3600, 60 / 3600)  # at which the memory of starts that are killed is compared


@dataclass
class Soaked:
    """What happened to a run.

    Attributes:
        kills: updates that were logged when it was killed.
        begun: hours from the first start to each.
        lives: memory of each start, (hours since that start, MB).
    """

    folder: Path
    kills: List[int] = field(default_factory=list)
    begun: List[float] = field(default_factory=list)
    lives: List[List[Tuple[float, float]]] = field(default_factory=list)
    hours: float = 0.0


def last_update(run_dir: Path) -> int:
    """The last update logged; 0 before the first."""
    path = run_dir / LOG_NAME
    return read_run_log(run_dir).last_update if path.is_file() and '"num_updates"' in path.read_text(encoding="utf-8") else 0


def live(command: List[str], soaked: Soaked, seconds: Optional[float], whole_group: bool) -> bool:
    """One start, killed after `seconds` (None: never), its loader processes with it or not; whether it came to its end."""
    output = soaked.folder.with_suffix(f".{len(soaked.lives)}.txt")
    with open(output, "w") as text:
        process = subprocess.Popen(command, env=runs.environment(), stdout=text, stderr=text, start_new_session=True)
    memory = MemoryWatch(process.pid)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        soaked.kills.append(last_update(soaked.folder))
        return False
    finally:
        soaked.lives.append(memory.stop())
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"exit code {process.returncode}: {output.read_text()[-3000:]}"
    return True


def soak(command: List[str], folder: Path, kill_minutes: Optional[float], seed: int = 0) -> Soaked:
    """Gives the command until it ends by itself; `kill_minutes` is the mean time to a kill, None for none."""
    soaked, chance, started, done = Soaked(folder), random.Random(seed), time.monotonic(), False
    while not done:
        seconds = None if kill_minutes is None else 60 * kill_minutes * chance.uniform(*KILLED_AFTER)
        soaked.begun.append((time.monotonic() - started) / 3600)
        done = live(command, soaked, seconds, whole_group=chance.random() < 0.5)
        if not done:
            print(f"  killed with update {soaked.kills[-1]} logged", flush=True)
    soaked.hours = (time.monotonic() - started) / 3600
    return soaked


def updates_in(corpus: Path, place: Path, minutes: float) -> int:
    """As many as fit, by the speed of two runs side by side; at least two checkpoints' worth."""

    def speed(name: str) -> float:
        options = (*SETTINGS, f"optimization.max_update={CALIBRATION}", "checkpoint.no_save=true")
        subprocess.run(runs.shipped_command(corpus, place / name, *options), env=runs.environment(), capture_output=True, check=True)
        return statistics.median(record["ups"] for record in read_run_log(place / name).train.values())

    with ThreadPoolExecutor() as pool:
        slower = min(pool.map(speed, ("calibration0", "calibration1")))
    return max(2 * SAVED_EVERY, int(60 * minutes * slower * (1 - LOST_SHARE)))


def memory_line(soaked: Soaked) -> List[Tuple[float, float]]:
    """(hours, MB) through which the line goes: a single start's samples once it has settled, or what several starts held at one age."""
    if len(soaked.lives) == 1:
        return [(hours, held) for hours, held in soaked.lives[0] if hours >= SETTLED_H]
    at_age = [[held for hours, held in life if AGE_H[0] <= hours <= AGE_H[1]] for life in soaked.lives]
    return [(begun, statistics.median(held)) for begun, held in zip(soaked.begun, at_age) if held]


def faults_of(killed: Soaked, undisturbed: Soaked, updates: int) -> List[str]:
    """Prints what was seen, and returns what must not be."""
    found = []
    for name, run in (("killed run", killed), ("undisturbed run", undisturbed)):
        line = memory_line(run)
        rate, judged = slope(line), bool(line) and line[-1][0] - line[0][0] >= LEAST_H
        most = max(held for life in run.lives for _, held in life)
        said = f"{len(run.kills)} kills, {60 * run.hours:.1f} minutes, memory at most {most:.0f} MB"
        print(f"{name}: {last_update(run.folder)} updates, {said}, slope {rate:+.1f} MB per hour{'' if judged else ' (too short to tell)'}")
        if judged and rate > MAX_GROWTH_MB:
            found.append(f"{name}: memory grows by {rate:.0f} MB per hour, {MAX_GROWTH_MB:.0f} allowed")
        if last_update(run.folder) != updates:
            found.append(f"{name}: ended at update {last_update(run.folder)} of {updates}")
    if not killed.kills:
        found.append("the run was never killed; give it more --minutes or fewer --kill-minutes")
    difference = first_difference(killed.folder, undisturbed.folder)
    samples = undisturbed.lives[0]
    tenths = [samples[len(samples) * tenth // 10 : len(samples) * (tenth + 1) // 10] for tenth in range(10)]
    said = ", ".join(f"{statistics.median(held for _, held in part):.0f}" for part in tenths if part)
    print(f"memory of the undisturbed run by tenths, MB: {said}")
    print("numbers and tensors of both: " + (difference or "the same, bit for bit"))
    return found + [difference] * bool(difference)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="about how long (60)")
    parser.add_argument("--kill-minutes", type=float, default=3.0, help="mean time to a kill (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mert-soak-") as folder:
        place = Path(folder)
        corpus = runs.build_corpus(place / "corpus")
        updates = updates_in(corpus, place, args.minutes)
        print(f"{updates} updates of mert_tiny, killed every {args.kill_minutes:g} minutes or so, beside an undisturbed run", flush=True)
        settings = (*SETTINGS, f"optimization.max_update={updates}")
        with ThreadPoolExecutor() as pool:
            undisturbed = pool.submit(soak, runs.shipped_command(corpus, place / "undisturbed", *settings), place / "undisturbed", None)
            killed = soak(runs.shipped_command(corpus, place / "killed", *settings), place / "killed", args.kill_minutes, args.seed)
            found = faults_of(killed, undisturbed.result(), updates)
    for fault in found:
        print(f"soak: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
