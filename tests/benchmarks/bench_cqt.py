"""The CQT of a training batch (4 clips of 5 s): ours and nnAudio's, in turn in one run with the same threads and malloc.

Both have the malloc that the package sets as it is imported; with --tuned one that is told to keep its memory before the process starts,
so that page faults cost neither side anything.
"""

import os
import sys

import numpy as np
import torch
from harness import TUNED, in_turn, peak_mb, record, reset_peak
from nnAudio.features.cqt import CQT

from mert_fairseq.allocator import give_back_freed_memory
from mert_fairseq.teachers.cqt import FastCQT, cqt_track

BARS = {"the package's": 30.0, "tuned": 15.0}  # at least so many times as fast, by malloc


@torch.no_grad()
def batch(malloc: str) -> None:
    """Median seconds of both, and the errors (norm, and largest in terms of the largest value)."""
    wave = torch.randn(4, 120_000, generator=torch.Generator().manual_seed(0)) * 0.1
    reference = CQT(sr=24000, hop_length=320, fmin=32.7, n_bins=336, bins_per_octave=48, pad_mode="constant", verbose=False)
    transform = FastCQT()
    theirs, ours = reference(wave).transpose(1, 2), transform(wave)  # both warm from here on
    ours_s, reference_s = in_turn(lambda: transform(wave), lambda: reference(wave), rounds=5, ours_per_round=3)
    record(f"CQT of 4 x 5 s, {malloc} malloc", ours_s, reference_s, BARS[malloc], "s")
    record("its error, of the norm", float((ours - theirs).norm() / theirs.norm()), most=1e-4)
    record("its largest error, of the largest value", float((ours - theirs).abs().max() / theirs.max()), most=2e-4)


def long_track() -> None:
    """A track of ten minutes: the megabytes that it adds to the process beyond its wave and its output.

    What was freed before is given back first: the package's malloc keeps it, and the track would take it up unseen.
    """
    wave = np.random.default_rng(0).standard_normal(600 * 24_000, np.float32)
    wave *= 0.1
    transform = FastCQT()
    cqt_track(wave[:240_000], transform)
    give_back_freed_memory()
    reset_peak()
    before = peak_mb()
    cqt_track(wave, transform)
    added = peak_mb() - before - 600 * 75 * 336 * 4 / 2**20
    record("CQT of 10 min: MB added beyond wave and output", added, most=300.0)


if __name__ == "__main__":
    if "--tuned" in sys.argv:
        batch("tuned")
    else:
        batch("the package's")
        long_track()
        os.execve(sys.executable, [sys.executable, __file__, "--tuned"], {**os.environ, **TUNED})
