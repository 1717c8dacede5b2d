"""The encoder as an ONNX graph, for runtimes without torch; checked against the model that it was made from."""

import contextlib
import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from mert_fairseq.errors import MertError
from mert_fairseq.export.compare import LENGTHS, all_states, clip, difference
from mert_fairseq.models.mert import MERTModel

NAME = "model.onnx"
OPSET = 18
NEEDED = "pip install 'mert-fairseq[export]'"


class _HiddenStates(nn.Module):
    """wave [B, S] -> [L + 1, B, T, D]."""

    def __init__(self, hubert: nn.Module):
        super().__init__()
        self.hubert = hubert

    def forward(self, wave: Tensor) -> Tensor:
        return torch.stack(all_states(self.hubert(wave, output_hidden_states=True)))


def write_onnx(folder: Path) -> None:
    """Adds model.onnx to an exported folder: input "wave" [B, S] at 24 kHz, output "hidden_states" [L + 1, B, T, D].

    Raises:
        MertError: a package that it takes is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        from transformers import AutoModel
    except ImportError as error:
        raise MertError(f"--onnx: {error}; {NEEDED}") from None
    hubert = AutoModel.from_pretrained(folder, attn_implementation="eager", trust_remote_code=False).eval()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about constants that are constant
        torch.onnx.export(
            _HiddenStates(hubert),
            (clip(LENGTHS[0]),),
            folder / NAME,
            input_names=["wave"],
            output_names=["hidden_states"],
            dynamic_axes={"wave": {0: "batch", 1: "samples"}, "hidden_states": {1: "batch", 2: "frames"}},
            opset_version=OPSET,
            dynamo=False,
        )


def largest_onnx_difference(model: MERTModel, folder: Path) -> float:
    """Between `model` and onnxruntime's run of the graph, over all layers, for batches and lengths it was not made with."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / NAME, providers=["CPUExecutionProvider"])
    differences = []
    for num_clips, length in ((1, LENGTHS[1]), (3, LENGTHS[0] + 321)):
        wave = clip(length, num_clips)
        (theirs,) = session.run(None, {"wave": wave.numpy()})
        differences += [difference(own, torch.from_numpy(other)) for own, other in zip(model.hidden_states(wave), theirs, strict=True)]
    return torch.stack(differences).max().item()
