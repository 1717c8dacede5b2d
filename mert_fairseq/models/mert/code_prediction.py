"""Cross-entropy of the teacher's codes: cosine similarity to every entry of a codebook, as one normalised matrix product.

The published code lays each frame beside each class, [classes + 1, M, final_dim]; the values and gradients are the same.
"""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mert_fairseq.models.mert.differentiated_once import differentiated_once

#: Logits alive at a time. On a CPU 4 MiB in float32, about 1,000 frames of 1,028 classes, stay in its cache.
CHUNK = {"cpu": 1 << 20}
CHUNK_ELSEWHERE = 1 << 25


@dataclass
class CodePrediction:
    """Losses of one group of M frames.

    Attributes:
        losses: [K] cross-entropy of each codebook in nats, summed over the frames.
        correct: [K] frames whose most probable class is the target.
        num_frames: M.
        counts: [2, sum of classes] how often each class was the most probable one and was the target, or None.
    """

    losses: Tensor
    correct: Tensor
    num_frames: int
    counts: Optional[Tensor] = None


def predict_codes(
    projected: Tensor,
    targets: Tensor,
    label_embs_concat: Tensor,
    num_classes: Sequence[int],
    temperature: float,
    count: bool = False,
) -> CodePrediction:
    """Losses and hits of all codebooks on M frames, in float32.

    Args:
        projected: [M, K, final_dim].
        targets: [M, K] class ids (code + 4).
        label_embs_concat: [sum of classes, final_dim], each codebook's entries behind fairseq's four special symbols.
        num_classes: classes of each codebook.
        temperature: divides the cosine similarities.
        count: count the classes predicted and met.
    """
    exact = torch.promote_types(projected.dtype, torch.float32)
    losses: List[Tensor] = []
    correct: List[Tensor] = []
    counts: List[Tensor] = []
    with torch.autocast(projected.device.type, enabled=False):  # whatever the caller, fairseq's amp among them, has switched on
        directions = F.normalize(projected.to(exact), dim=-1)
        entries = F.normalize(label_embs_concat.to(exact), dim=-1)
        for codebook, own in enumerate(entries.split(list(num_classes), 0)):
            loss, hits = ChunkedCrossEntropy.apply(directions[:, codebook], own, targets[:, codebook], temperature)
            losses.append(loss)
            correct.append(hits)
            if count:
                counts.append(_class_counts(directions[:, codebook], own, targets[:, codebook]))
    return CodePrediction(torch.stack(losses), torch.stack(correct), len(targets), torch.cat(counts, 1) if counts else None)


@torch.no_grad()
def _class_counts(x: Tensor, y: Tensor, targets: Tensor) -> Tensor:
    """x [M, D], y [V, D], targets [M] -> [2, V]; without a step that waits for the device, as bincount is."""
    counts = torch.zeros(2, len(y), dtype=torch.long, device=x.device)
    for chunk in x.split(_rows(x, y)):
        predicted = (chunk @ y.t()).argmax(-1)
        counts[0].scatter_add_(0, predicted, torch.ones_like(predicted))
    counts[1].scatter_add_(0, targets, torch.ones_like(targets))
    return counts


def _rows(x: Tensor, y: Tensor) -> int:
    """Frames of x [M, D] whose logits over y [V, D] are alive at a time."""
    return max(1, CHUNK.get(x.device.type, CHUNK_ELSEWHERE) // len(y))


class ChunkedCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of x @ y.T / temperature, and hits; the logits of a few frames exist at a time and are not kept.

    The gradient with respect to the logits follows in the forward pass from values at hand, so backward only scales what was summed.
    """

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, targets: Tensor, temperature: float) -> Tuple[Tensor, Tensor]:
        """x [M, D], y [V, D], targets [M] -> sum of the losses [], number of hits []."""
        needed = any(ctx.needs_input_grad[:2])
        grad_x, grad_y = (torch.empty_like(x), torch.zeros_like(y)) if needed else (None, None)
        loss, hits = x.new_zeros(()), torch.zeros((), dtype=torch.long, device=x.device)
        rows = _rows(x, y)
        for first in range(0, len(x), rows):
            chunk, wanted = x[first : first + rows], targets[first : first + rows, None]
            logits = chunk @ y.t() / temperature
            largest, own = logits.amax(-1, keepdim=True), logits.gather(1, wanted)
            # The largest value is the target's own; argmax says the same several times slower on a CPU.
            hits += (own >= largest).sum()
            sums = logits.sub_(largest).exp_().sum(-1, keepdim=True)
            loss += (sums.log() + largest - own).sum()
            if needed:
                logits.div_(sums).scatter_add_(1, wanted, logits.new_full(wanted.shape, -1.0))
                torch.mm(logits, y, out=grad_x[first : first + rows])
                torch.addmm(grad_y, logits.t(), chunk, out=grad_y)
        if needed:
            ctx.save_for_backward(grad_x.div_(temperature), grad_y.div_(temperature))
        ctx.mark_non_differentiable(hits)
        return loss, hits

    @staticmethod
    @differentiated_once
    def backward(ctx, grad_loss: Tensor, _):
        """Scales the gradients."""
        grad_x, grad_y = ctx.saved_tensors
        return grad_x * grad_loss, grad_y * grad_loss, None, None
