"""The CQT of a training batch (4 clips of 5 s): ours and nnAudio's, in turn in one run with the same threads and malloc.

With --tuned both run in a process whose malloc is told to keep its memory, so that page faults cost neither side anything.
"""

import os
import resource
import sys

import numpy as np
import torch
from harness import conclude, in_turn, seconds
from nnAudio.features.cqt import CQT

from mert_fairseq.teachers.cqt import FastCQT, cqt_track

BARS = {"default": 30.0, "tuned": 15.0}  # at least so many times as fast, by malloc
TUNED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}


@torch.no_grad()
def batch(malloc: str) -> dict:
    """Median seconds of both, their ratio and the errors (norm, and largest in terms of the largest value)."""
    wave = torch.randn(4, 120_000, generator=torch.Generator().manual_seed(0)) * 0.1
    reference = CQT(sr=24000, hop_length=320, fmin=32.7, n_bins=336, bins_per_octave=48, pad_mode="constant", verbose=False)
    transform = FastCQT()
    theirs, build_s = reference(wave).transpose(1, 2), seconds(lambda: transform(wave))  # both warm from here on
    ours = transform(wave)
    ours_s, reference_s = in_turn(lambda: transform(wave), lambda: reference(wave), rounds=5, ours_per_round=3)
    errors = {"relative_error": float((ours - theirs).norm() / theirs.norm()),
              "largest_error": float((ours - theirs).abs().max() / theirs.max())}
    return {"name": f"cqt of 4 x 5 s, {malloc} malloc", "ours_s": ours_s, "reference_s": reference_s, "ratio": reference_s / ours_s,
            "bar": BARS[malloc], **errors, "build_s": build_s, "threads": torch.get_num_threads(),
            "most": {"relative_error": 1e-4, "largest_error": 2e-4}}


def long_track() -> dict:
    """A track of ten minutes: seconds, and the megabytes that it adds to the process beyond its wave and its output."""
    wave = np.random.default_rng(0).standard_normal(600 * 24_000, np.float32) * 0.1
    transform = FastCQT()
    cqt_track(wave[:240_000], transform)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = seconds(lambda: cqt_track(wave, transform))
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 - 600 * 75 * 336 * 4 / 2**20
    return {"name": "cqt of 10 min", "seconds": taken, "added_mb": added, "most": {"added_mb": 300.0}}


if __name__ == "__main__":
    if "--tuned" in sys.argv:
        conclude(batch("tuned"))
    else:
        conclude(batch("default"))
        conclude(long_track())
        os.execve(sys.executable, [sys.executable, __file__, "--tuned"], {**os.environ, **TUNED})
