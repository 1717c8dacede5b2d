"""How fast training runs, logged with every line: audio per second, model FLOP utilisation, share of waiting for data, memory.

Only updates that took their step are timed, from asking for the batch to the end of the step; validation and checkpoints between them
count in device-hours alone. Waiting and memory are those of the first of several processes.
"""

import resource
import time
from typing import Dict, Iterator, List

import torch
from fairseq.logging import metrics
from fairseq.tasks.fairseq_task import StatefulContainer

from mert_fairseq.frames import SAMPLE_RATE
from mert_fairseq.resident_memory import resident_bytes

GIGABYTE = 1e9
MATMUL_SIZE = {"cpu": 1536}  # rows and columns of the products that a device's rate is taken from
MATMUL_SIZE_ELSEWHERE = 8192
MATMULS = 3


class StepClock:
    """Times the waiting for training's batches, and the steps in between."""

    def __init__(self) -> None:
        self._waited, self._delivered = 0.0, time.perf_counter()

    def time_waits(self, batches: Iterator) -> Iterator:
        """The same batches; waits for them are counted."""
        while True:
            asked = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._delivered = time.perf_counter()
            self._waited += self._delivered - asked
            yield batch

    def restart(self) -> None:
        """Leaves out what was done since the last batch came."""
        self._delivered = time.perf_counter()

    def lap(self) -> Dict[str, float]:
        """Seconds waited and worked since the last call: an update of one or several batches."""
        waited, self._waited = self._waited, 0.0
        return {"waited": waited, "worked": time.perf_counter() - self._delivered}


class Throughput:
    """Turns each update's seconds into meters.

    Args:
        device: of the model.
        dtype: of its matrix products.
        world_size: devices that train together; audio and FLOPs arrive as their sums.
        state: of the task; its `device_seconds` count on when the run is resumed.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, world_size: int, state: StatefulContainer) -> None:
        self._device, self._devices, self._state = device, world_size, state
        state.add_factory("device_seconds", float)
        self._peak = matmul_rate(device, dtype) * world_size
        self._last, self._peak_memory = time.perf_counter(), 0

    def note_memory(self) -> None:
        """Called within each update: fairseq starts the GPU's peak anew before it logs."""
        self._peak_memory = max(self._peak_memory, _peak_memory(self._device))

    def log(self, logging_outputs: List[Dict[str, float]], lap: Dict[str, float]) -> None:
        """Adds one update to fairseq's meters."""
        total = {key: float(sum(log.get(key, 0) for log in logging_outputs)) for key in ("num_samples", "flops")}
        now = time.perf_counter()
        metrics.log_scalar_sum("_audio_s", total["num_samples"] / SAMPLE_RATE)
        metrics.log_scalar_sum("_peak_s", total["flops"] / self._peak)
        metrics.log_scalar_sum("_waited_s", lap["waited"])
        metrics.log_scalar_sum("_step_s", lap["waited"] + lap["worked"])
        self._state.merge_state_dict({"device_seconds": self._state.device_seconds + (now - self._last) * self._devices})
        self._last = now
        metrics.log_derived("audio_s_per_s", _share_of_step("_audio_s", 2))
        metrics.log_derived("mfu", _share_of_step("_peak_s", 3))
        metrics.log_derived("data_wait", _share_of_step("_waited_s", 4))
        metrics.log_derived("device_hours", lambda meters: round(self._state.device_seconds / 3600, 4))
        self.note_memory()
        metrics.log_derived("peak_mem_gb", lambda meters: round(self._peak_memory / GIGABYTE, 2))


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP per second of large matrix products on one device, the best of three."""
    size = MATMUL_SIZE.get(device.type, MATMUL_SIZE_ELSEWHERE)
    matrix = torch.linspace(-1, 1, size * size, device=device).view(size, size).to(dtype)  # no random numbers: training draws from them
    best = float("inf")
    for _ in range(MATMULS + 1):
        _wait_for(device)
        start = time.perf_counter()
        matrix @ matrix
        _wait_for(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _share_of_step(key: str, digits: int):
    return lambda meters: round(meters[key].sum / max(meters["_step_s"].sum, 1e-9), digits)


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resident_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
