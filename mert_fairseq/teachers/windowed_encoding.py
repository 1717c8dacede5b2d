"""RVQ-VAE codes of tracks of any length, in bounded memory: in windows, several at once.

The encoder is causal, so a window only lacks what lies left of it: it is given a second more and those frames are dropped.
Full windows have one shape. On a CPU each is computed alone, by one thread, and as many threads work as torch has: the encoder's
many small operations gain little from threads of their own. On a GPU full windows of one or several tracks make a batch of constant
shape. What is left at a track's end goes alone, at its own length. A window's codes therefore do not depend on the order of the files,
nor on how they are divided into shards.
"""

import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Deque, Dict, Iterable, Iterator, List, Optional

import numpy as np
import torch
from torch import Tensor

from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE, HOP
from mert_fairseq.teachers.rvqvae import RVQVAE

WINDOW_FRAMES, CONTEXT_FRAMES = 7 * FRAME_RATE, FRAME_RATE  # kept of each window, and dropped before them
BATCH_WINDOWS = 16  # on a GPU
WINDOWS_AHEAD = 32  # given out before the oldest track is waited for
MISMATCH_FRAMES = 10 * FRAME_RATE  # behind the first window, in which windows are compared with a pass over the whole file
MOST_MISMATCH = 0.005  # of the codes

logger = logging.getLogger(__name__)


class _Part:
    """One window's place in a batch that may not have been computed yet."""

    def __init__(self, window: Tensor) -> None:
        self.window: Optional[Tensor] = window
        self.batch: Optional[Future] = None
        self.row = 0

    def codes(self) -> np.ndarray:
        """[K, T'], waited for."""
        return self.batch.result()[self.row]


class _Batches:
    """Full windows gathered into batches of `size`, and tails of tracks by themselves, handed to the threads of `pool`."""

    def __init__(self, pool: ThreadPoolExecutor, encode, size: int) -> None:
        self._submit, self._size = partial(pool.submit, encode), size
        self._gathered: List[_Part] = []

    def add(self, window: Tensor, full: bool) -> _Part:
        """Takes a window [S]; a tail, or any window where batches are of one, is handed on at once."""
        part = _Part(window)
        if full and self._size > 1:
            self._gathered.append(part)
            if len(self._gathered) == self._size:
                self.flush()
        else:
            self._give(window[None], [part])
        return part

    def flush(self) -> None:
        """Sends off what was gathered, filled up with silence to the constant shape."""
        if self._gathered:
            windows = [part.window for part in self._gathered]
            silence = [torch.zeros_like(windows[0])] * (self._size - len(windows))
            self._give(torch.stack(windows + silence), self._gathered)
            self._gathered = []

    def _give(self, batch: Tensor, parts: List[_Part]) -> None:
        future = self._submit(batch)
        for row, part in enumerate(parts):
            part.batch, part.row, part.window = future, row, None


class WindowedEncoder:
    """Waves [S] in, codes uint16 [ceil(S / 320), K] out, in the same order, on the device of `teacher`.

    Args:
        precision: "float32", or "bfloat16" for the network (the quantiser always compares in float32).
        batch_windows: full windows computed at once (default: 1 on a CPU, 16 on a GPU).
    """

    def __init__(
        self, teacher: RVQVAE, precision: str = "float32", window_frames: int = WINDOW_FRAMES, context_frames: int = CONTEXT_FRAMES,
        batch_windows: Optional[int] = None,
    ) -> None:
        if precision not in ("float32", "bfloat16"):
            raise MertError(f"precision {precision!r}; allowed: float32, bfloat16")
        self.teacher, self.precision = teacher, precision
        self.step, self.context = window_frames, context_frames
        self.on_cpu = teacher.codebooks.device.type == "cpu"
        self.batch_windows = batch_windows or (1 if self.on_cpu else BATCH_WINDOWS)

    @property
    def span(self) -> int:
        """Samples of a full window, its context included."""
        return (self.step + self.context) * HOP

    def __call__(self, waves: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Codes of each wave, in order; an empty wave gives an empty array."""
        threads = torch.get_num_threads()
        workers, initializer = (threads, partial(torch.set_num_threads, 1)) if self.on_cpu else (1, None)
        waiting: Deque[List[_Part]] = deque()
        with ThreadPoolExecutor(workers, initializer=initializer) as pool:
            batches = _Batches(pool, self._encode, self.batch_windows)
            try:
                for wave in waves:
                    windows = self._windows(wave)
                    waiting.append([batches.add(window, full=index < len(windows) - 1) for index, window in enumerate(windows)])
                    while sum(map(len, waiting)) > WINDOWS_AHEAD:
                        yield self._join(waiting.popleft(), batches)
                while waiting:
                    yield self._join(waiting.popleft(), batches)
            finally:
                torch.set_num_threads(threads)  # part of it is shared by all threads

    def encode_track(self, wave: np.ndarray) -> np.ndarray:
        """Codes uint16 [T, K] of one wave [S]."""
        [codes] = self([wave])
        return codes

    def mismatch(self, wave: np.ndarray) -> Dict[str, float]:
        """Share of codes that differ between windows and one pass over the file, in the 10 s behind the first window, where some can."""
        first = self.step + self.context
        wave = wave[: (first + MISMATCH_FRAMES) * HOP]
        if len(wave) <= first * HOP:
            return {"frames": 0, "share_of_codes": 0.0}  # one window: the pass itself
        whole = self._encode(torch.as_tensor(wave, dtype=torch.float32)[None])[0].T[first:]
        share = float((self.encode_track(wave)[first:] != whole).mean())
        if share > MOST_MISMATCH:
            logger.warning(f"{100 * share:.2f} % of the codes differ from a pass over the whole file, above {100 * MOST_MISMATCH} %")
        return {"frames": len(whole), "share_of_codes": round(share, 6)}

    def _windows(self, wave: np.ndarray) -> List[Tensor]:
        """Full windows, then the rest of the track, which is at least one frame and at most a full window."""
        samples = torch.as_tensor(wave, dtype=torch.float32)
        if not torch.isfinite(samples.sum()):  # a tenth of the time of looking at each
            raise MertError("the wave holds samples that are not finite; allowed: finite float32; decode the file again")
        stride = self.step * HOP
        num_full = max(0, -(-(samples.numel() - self.span) // stride))
        windows = [samples[i * stride : i * stride + self.span] for i in range(num_full)]
        return windows + ([samples[num_full * stride :]] if samples.numel() else [])

    @torch.no_grad()
    def _encode(self, wave: Tensor) -> np.ndarray:
        """[B, S] -> codes uint16 [B, K, T]."""
        wave = wave.to(self.teacher.codebooks.device)
        # cuDNN's TF32 would give a GPU other codes than a CPU.
        lower = torch.autocast(wave.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with torch.backends.cudnn.flags(allow_tf32=False), lower:
            latents = self.teacher.latents(wave)
        return self.teacher.quantise(latents.float()).cpu().numpy().astype(np.uint16)

    def _join(self, parts: List[_Part], batches: _Batches) -> np.ndarray:
        """The windows of a track -> [T, K], contexts dropped."""
        if not parts:
            return np.zeros((0, self.teacher.num_codebooks), np.uint16)
        if any(part.batch is None for part in parts):
            batches.flush()
        kept = [part.codes() if index == 0 else part.codes()[:, self.context :] for index, part in enumerate(parts)]
        return np.ascontiguousarray(np.concatenate(kept, axis=1).T)
