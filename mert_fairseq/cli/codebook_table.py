"""How a teacher's codebooks are used, as a table on the screen."""

from typing import List


def print_codebooks(perplexity: List[float], top_share: List[float], repeat_rate: List[float], residual_energy: List[float]) -> None:
    """A table of held-out figures, one line per codebook."""
    print("codebook   perplexity  top code %  same as frame before %  residual energy %")
    for codebook, (value, top, repeat, residual) in enumerate(zip(perplexity, top_share, repeat_rate, residual_energy)):
        print(f"{codebook:8} {value:12.0f} {100 * top:11.1f} {100 * repeat:23.1f} {100 * residual:18.1f}")
