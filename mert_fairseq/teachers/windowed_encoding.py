"""RVQ-VAE codes of tracks of any length, in bounded memory: windows of one length, several files to a batch.

The encoder is causal, so a window only lacks what lies left of it: it is given a second more and those frames are dropped.
Every full window has the same shape and is batched with whatever comes next, of the same file or another; what is left at a
track's end goes alone, at its own length. A window's codes therefore do not depend on the order of the files, nor on how they
are divided into shards.
"""

from typing import Dict, Iterable, Iterator, List, Tuple

import numpy as np
import torch
from encodec.modules import SLSTM
from torch import Tensor, nn

from mert_fairseq.errors import MertError
from mert_fairseq.frames import FRAME_RATE, HOP
from mert_fairseq.teachers.rvqvae import RVQVAE

WINDOW_FRAMES, CONTEXT_FRAMES = 7 * FRAME_RATE, FRAME_RATE  # kept of each window, and dropped before them
BATCH_WINDOWS = 8
ACTIVATION_BYTES = 24 * 2**20  # a tensor above glibc's 32 MiB mmap threshold is paged in afresh each time: half the speed
MISMATCH_SAMPLES = 60 * FRAME_RATE * HOP  # of the whole-file pass that windows are compared with


class WindowedEncoder:
    """Waves [S] in, codes uint16 [ceil(S / 320), K] out, in the same order; `teacher` says on which device.

    Args:
        precision: "float32", or "bfloat16" for the network (the quantiser always compares in float32).
        batch_windows: full windows computed at once.
    """

    def __init__(
        self, teacher: RVQVAE, precision: str = "float32", window_frames: int = WINDOW_FRAMES, context_frames: int = CONTEXT_FRAMES,
        batch_windows: int = BATCH_WINDOWS,
    ) -> None:
        if precision not in ("float32", "bfloat16"):
            raise MertError(f"precision {precision!r}; allowed: float32, bfloat16")
        self.teacher, self.precision, self.batch_windows = teacher, precision, batch_windows
        self.step, self.context = window_frames, context_frames
        layers: nn.Sequential = teacher.encoder.model
        recurrent = next(index for index, layer in enumerate(layers) if isinstance(layer, SLSTM))
        self._convolutions, self._rest = layers[:recurrent], layers[recurrent:]

    @property
    def span(self) -> int:
        """Samples of a full window, its context included."""
        return (self.step + self.context) * HOP

    def __call__(self, waves: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Codes of each wave; an empty wave gives an empty array. A track is yielded when its last window is done."""
        tracks: Dict[int, List[np.ndarray]] = {}  # parts of the tracks that are not complete, by number
        queue: List[Tuple[int, int, Tensor]] = []  # full windows that wait for a batch: track, part, samples
        first = count = 0
        for count, wave in enumerate(waves, start=1):
            windows = self._windows(wave)
            tracks[count - 1] = [np.empty(0)] * len(windows)
            queue += [(count - 1, part, window) for part, window in enumerate(windows[:-1])]
            if windows:
                tracks[count - 1][-1] = self._encode(windows[-1][None])[0]
            while len(queue) >= self.batch_windows:
                self._encode_queued(queue, tracks)
            while first < (queue[0][0] if queue else count):
                yield self._join(tracks.pop(first))
                first += 1
        while queue:
            self._encode_queued(queue, tracks)
        for number in range(first, count):
            yield self._join(tracks.pop(number))

    def encode_track(self, wave: np.ndarray) -> np.ndarray:
        """Codes uint16 [T, K] of one wave [S]."""
        return next(self([wave]))

    def mismatch(self, wave: np.ndarray) -> Dict[str, float]:
        """Share of codes that differ between windows and one pass over the first minute of a wave, 0 where it is one window."""
        wave = wave[:MISMATCH_SAMPLES]
        whole = self._encode(torch.as_tensor(wave, dtype=torch.float32)[None])[0].T
        differing = self.encode_track(wave) != whole
        return {"frames": len(whole), "share_of_codes": round(float(differing.mean()), 6) if differing.size else 0.0}

    def _windows(self, wave: np.ndarray) -> List[Tensor]:
        """Full windows, then the rest of the track, which is at least one frame and at most a full window."""
        samples = torch.as_tensor(wave, dtype=torch.float32)
        if not torch.isfinite(samples).all():
            raise MertError("the wave holds samples that are not finite; allowed: finite float32; decode the file again")
        stride = self.step * HOP
        num_full = max(0, -(-(samples.numel() - self.span) // stride))
        windows = [samples[i * stride : i * stride + self.span] for i in range(num_full)]
        return windows + ([samples[num_full * stride :]] if samples.numel() else [])

    def _encode_queued(self, queue: List[Tuple[int, int, Tensor]], tracks: Dict[int, List[np.ndarray]]) -> None:
        """One batch from the front of the queue, filled up with silence to its constant shape."""
        taken = queue[: self.batch_windows]
        del queue[: self.batch_windows]
        batch = torch.zeros(self.batch_windows, self.span)
        for row, (_, _, window) in zip(batch, taken):
            row.copy_(window)
        for codes, (track, part, _) in zip(self._encode(batch), taken):
            tracks[track][part] = codes

    @torch.no_grad()
    def _encode(self, wave: Tensor) -> np.ndarray:
        """[B, S] -> codes uint16 [B, K, T]; the convolutions in parts that fit the cache, the LSTM over the whole batch."""
        device = self.teacher.codebooks.device
        part = max(1, ACTIVATION_BYTES // (4 * self.teacher.settings.n_filters * wave.shape[1])) if device.type == "cpu" else len(wave)
        scaled = wave.to(device).unsqueeze(1) * self.teacher.settings.input_gain
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            hidden = torch.cat([self._convolutions(piece) for piece in scaled.split(part)])
            latents = self._rest(hidden)
        return self.teacher.quantise(latents.float()).cpu().numpy().astype(np.uint16)

    def _join(self, parts: List[np.ndarray]) -> np.ndarray:
        """Parts [K, T'] of a track -> [T, K], contexts dropped."""
        if not parts:
            return np.zeros((0, self.teacher.num_codebooks), np.uint16)
        kept = [part if index == 0 else part[:, self.context :] for index, part in enumerate(parts)]
        return np.ascontiguousarray(np.concatenate(kept, axis=1).T)


