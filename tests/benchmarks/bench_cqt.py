"""The CQT of a training batch (4 clips of 5 s): ours and nnAudio's, timed in turn in one run with the same threads."""

import time
from statistics import median

import torch
from nnAudio.features.cqt import CQT

from mert_fairseq.teachers.cqt import FastCQT

BAR = 30.0  # at least so many times as fast
ROUNDS = 5


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@torch.no_grad()
def run() -> dict:
    """Median seconds of both, their ratio and the errors (norm, and largest in terms of the largest value)."""
    wave = torch.randn(4, 120_000, generator=torch.Generator().manual_seed(0)) * 0.1
    reference = CQT(sr=24000, hop_length=320, fmin=32.7, n_bins=336, bins_per_octave=48, pad_mode="constant", verbose=False)
    transform = FastCQT()
    theirs, build_s = reference(wave).transpose(1, 2), seconds(lambda: transform(wave))  # both warm from here on
    ours = transform(wave)
    ours_s, reference_s = [], []
    for _ in range(ROUNDS):
        reference_s.append(seconds(lambda: reference(wave)))
        ours_s.extend(seconds(lambda: transform(wave)) for _ in range(3))
    return {
        "name": "cqt of 4 x 5 s",
        "ours_s": median(ours_s),
        "reference_s": median(reference_s),
        "ratio": median(reference_s) / median(ours_s),
        "bar": BAR,
        "relative_error": float((ours - theirs).norm() / theirs.norm()),
        "largest_error": float((ours - theirs).abs().max() / theirs.max()),
        "build_s": build_s,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    result = run()
    print(", ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in result.items()))
