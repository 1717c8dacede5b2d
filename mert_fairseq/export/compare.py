"""Whether an exported folder computes what the training model computes: every hidden state, on clips of odd lengths."""

from pathlib import Path
from typing import List

import torch
from torch import Tensor

from mert_fairseq.errors import MertError
from mert_fairseq.models.mert import MERTModel

TOLERANCE = 1e-4  # of hidden states of the order of 1; of larger ones their largest value counts as 1
LENGTHS = (16_123, 40_961)  # samples: an even and an odd number of frames, off the grid


def largest_difference(model: MERTModel, folder: Path) -> float:
    """Between `model` and what transformers loads from `folder`, over all layers and clips.

    Raises:
        MertError: transformers is not installed, or does not find every weight.
    """
    try:
        from transformers import AutoModel
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise MertError(f"transformers cannot be imported ({error}); pip install 'mert-fairseq[export]'") from None
    transformers_logging.disable_progress_bar()
    exported, found = AutoModel.from_pretrained(folder, output_loading_info=True, trust_remote_code=False)
    absent = sorted(found["missing_keys"]) + sorted(found["unexpected_keys"])
    if absent:
        raise MertError(f"transformers does not take the weights as they are, first {absent[0]}")
    exported.eval()
    return torch.stack([difference for length in LENGTHS for difference in _differences(model, exported, length)]).max().item()


def all_states(outputs) -> List[Tensor]:
    """L + 1 tensors [B, T, D] of transformers' outputs, the last one behind the final norm of pre-LN: so it is in hidden_states of
    transformers 4, while 5 has it there from before the norm.
    """
    return [*outputs.hidden_states[:-1], outputs.last_hidden_state]


def clip(length: int, num_clips: int = 2) -> Tensor:
    """Noise [num_clips, length], the same every time."""
    return 0.1 * torch.randn(num_clips, length, generator=torch.Generator().manual_seed(length))


@torch.no_grad()
def _differences(model: MERTModel, exported, length: int) -> List[Tensor]:
    source = clip(length)
    theirs = exported(source, output_hidden_states=True)
    ours = [*model.hidden_states(source), model(source, mask=False, features_only=True)["x"]]  # and what training computes
    last = theirs.last_hidden_state
    return [difference(own, other) for own, other in zip(ours, [*all_states(theirs), last], strict=True)]


def difference(own: Tensor, other: Tensor) -> Tensor:
    """[] the largest one, in terms of the largest value where that is above 1."""
    return (own - other).abs().max() / own.abs().max().clamp(min=1)
