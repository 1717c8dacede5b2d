"""Cross-entropy of the teacher's codes: cosine similarity to every entry of a codebook, as one normalised matrix product.

The published code lays each frame beside each class, [classes + 1, M, final_dim]; the values and gradients are the same.
"""

from dataclasses import dataclass
from typing import List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class CodePrediction:
    """Losses of one group of M frames.

    Attributes:
        losses: [K] cross-entropy of each codebook in nats, summed over the frames.
        correct: [K] frames whose most probable class is the target.
        num_frames: M.
    """

    losses: Tensor
    correct: Tensor
    num_frames: int


def code_logits(projected: Tensor, label_embs: Tensor, temperature: float) -> Tensor:
    """Cosine similarities divided by the temperature, in float32.

    Args:
        projected: [M, final_dim] projection of one codebook.
        label_embs: [V + 4, final_dim] its entries, fairseq's four special symbols first.

    Returns:
        [M, V + 4].
    """
    with torch.autocast(projected.device.type, enabled=False):  # whatever the caller, fairseq's amp among them, has switched on
        return F.normalize(projected.float(), dim=-1) @ F.normalize(label_embs.float(), dim=-1).t() / temperature


def predict_codes(
    projected: Tensor, targets: Tensor, label_embs_concat: Tensor, num_classes: Sequence[int], temperature: float
) -> CodePrediction:
    """Losses and hits of all codebooks on M frames.

    Args:
        projected: [M, K, final_dim].
        targets: [M, K] class ids (code + 4).
        label_embs_concat: [sum of classes, final_dim].
        num_classes: classes of each codebook.
    """
    losses: List[Tensor] = []
    correct: List[Tensor] = []
    for codebook, label_embs in enumerate(label_embs_concat.split(list(num_classes), 0)):
        logits = code_logits(projected[:, codebook], label_embs, temperature)
        wanted = targets[:, codebook]
        losses.append(F.cross_entropy(logits, wanted, reduction="sum"))
        with torch.no_grad():
            # The largest value found by amax is the target's own; argmax says the same several times slower on a CPU.
            correct.append((logits.gather(1, wanted[:, None])[:, 0] >= logits.amax(-1)).sum())
    return CodePrediction(torch.stack(losses), torch.stack(correct), len(targets))
