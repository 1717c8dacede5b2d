"""Training steps, ours and the published method's, in turn in one run: two processes, of which one works at a time.

With the system's malloc as a user gets it, and with a malloc tuned against page faults on both sides.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Dict, List, Optional

from harness import TUNED, record

from mert_fairseq.allocator import SWITCH

WORKER = Path(__file__).with_name("step_worker.py")


class Side:
    """One process of step_worker.py."""

    def __init__(self, side: str, what: str, size: int, malloc: str = "default"):
        environment = {**os.environ, **(TUNED if malloc == "tuned" else {}), "PYTHONWARNINGS": "ignore"}
        if side == "reference":
            environment[SWITCH] = "0"  # importing the package would tune its malloc too
        self.process = subprocess.Popen(
            [sys.executable, WORKER, side, what, str(size)], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        self.steps: List[Dict[str, float]] = []
        self.first_timed = 1

    def wait_until_ready(self) -> None:
        """Apart from the start, so that two processes can start at once."""
        assert self.process.stdout.readline().strip() == "ready", f"{self.process.args[1:]} did not start"

    def tell(self, word: str) -> Dict[str, float]:
        """One line there, one back."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def step(self) -> None:
        self.steps.append(self.tell("step"))

    def end(self, of_steps=median) -> Dict[str, float]:
        """Median seconds behind the first step, or another figure of them, and the last values of the rest."""
        self.process.stdin.close()
        self.process.wait()
        return {**self.steps[-1], "seconds": of_steps(step["seconds"] for step in self.steps[self.first_timed :])}


def in_turn(ours: Side, reference: Side, rounds: int, warm_reference: bool = True, ours_per_round: int = 1):
    """Steps of both, alternating, behind one that does not count; where pages are faulted in at every step the reference needs none."""
    for side in (ours, reference):
        side.wait_until_ready()
    ours.step()
    if warm_reference:
        reference.step()
    else:
        reference.first_timed = 0
    for _ in range(rounds):
        reference.step()
        for _ in range(ours_per_round):
            ours.step()
    return ours.end(), reference.end()


def compare(what: str, size: int, malloc: str, bar: float, rounds: int, memory_bar: Optional[float] = None) -> None:
    """Seconds per step, and peak memory where a bar is given."""
    ours, reference = in_turn(Side("ours", what, size, malloc), Side("reference", what, size, malloc), rounds, malloc == "tuned")
    title = f"{what}, {size} clips, {malloc} malloc"
    record(f"step of {title}", ours["seconds"], reference["seconds"], bar, "s")
    if memory_bar is not None:
        record(f"peak memory of {title}", ours["peak_mb"], reference["peak_mb"], memory_bar, "MB")


def bfloat16_and_matmul_share() -> None:
    """Our own step in both precisions, from equal weights; and FLOPs of the definition per second of the float32 one, in terms of a
    large matrix product's in the same process, measured after each step.

    The quickest of as many steps of each: what else the machine does only adds, and to bfloat16's shorter step a larger share.
    """
    low, full = Side("ours_bf16", "mert_base", 2), Side("ours", "mert_base", 2)
    for side in (low, full):
        side.wait_until_ready()
    rates = []
    for _ in range(8):
        low.step()
        full.step()
        rates.append(full.tell("matmul")["rate"])
    off = abs(low.steps[0]["loss"] / full.steps[0]["loss"] - 1)
    low_found, full_found = low.end(min), full.end(min)
    record("base in bfloat16 against our own float32", low_found["seconds"], full_found["seconds"], 1.8, "s")
    record("its loss, share that differs", off, most=0.01)
    record("base float32 step, share of the matmul rate", full_found["flops"] / full_found["seconds"] / max(rates), least=0.8)


def code_loss() -> None:
    """The loss alone at the 95M shape, and its memory beyond its inputs; and that of 20,000 frames."""
    sides = Side("ours", "code_loss", 417), Side("reference", "code_loss", 417)
    ours, reference = in_turn(*sides, 1, warm_reference=False, ours_per_round=9)
    record("code loss of 417 frames, 8 x 1,028 classes", ours["seconds"], reference["seconds"], 100, "s")
    added = [side["peak_mb"] - side["held_mb"] for side in (ours, reference)]
    record("its memory beyond what is held", *added, 10, "MB")
    side = Side("ours", "code_loss", 20_000)
    side.wait_until_ready()
    side.first_timed = 0
    side.step()
    found = side.end()
    record("code loss of 20,000 frames: MB added", found["peak_mb"] - found["held_mb"], most=1000.0)


if __name__ == "__main__":
    code_loss()
    compare("mert_base", 2, "default", 3.0, 1, memory_bar=3.0)
    compare("mert_base", 4, "default", 3.0, 1, memory_bar=3.0)
    compare("mert_base", 2, "tuned", 1.5, 1)
    compare("mert_base", 4, "tuned", 1.5, 1)
    compare("mert_large", 2, "default", 3.0, 1)
    bfloat16_and_matmul_share()
