"""Second derivatives of what has its backward pass written by hand are refused: they would lack a part."""

import pytest
import torch
from test_golden import TaskSettings, tiny_config

from mert_fairseq.models.mert import MERTModel
from mert_fairseq.models.mert.attention import WrittenOutAttention
from mert_fairseq.models.mert.code_prediction import ChunkedCrossEntropy, predict_codes
from mert_fairseq.models.mert.conv_stack import GeluConv, GeluConvOfWindows
from mert_fairseq.models.mert.dropout import Dropout
from mert_fairseq.models.mert.gelu_linear import GeluLinear
from mert_fairseq.models.mert.head_projections import _Joint
from mert_fairseq.models.mert.matrix_product import Linear
from mert_fairseq.models.mert.position_conv import DirectConv

FUNCTIONS = {
    "linear layer": (lambda x: Linear(4, 5)(x), (3, 4)),
    "GELU and linear layer": (lambda x: GeluLinear(4, 5)(x), (3, 4)),
    "heads": (lambda x: _Joint.apply(x, 2, 1, torch.randn(6, 4), torch.randn(6))[0], (3, 4)),
    "attention": (lambda x: WrittenOutAttention.apply(x, x, x, None, 0.0), (2, 3, 4)),
    "position convolution": (lambda x: DirectConv.apply(x, torch.randn(4, 2, 4), 2, 2), (2, 4, 5)),
    "convolution": (lambda x: GeluConv.apply(x * 1.0, torch.randn(3, 3, 2), 2), (8, 3)),
    "first convolutions": (lambda x: GeluConvOfWindows.apply(x, torch.randn(2, 3, 2), torch.randn(3, 2, 2), 2), (2, 4, 3)),
    "cross-entropy": (lambda x: ChunkedCrossEntropy.apply(x, torch.randn(5, 4), torch.tensor([0, 1, 2]), 0.5)[0], (3, 4)),
    "dropout": (lambda x: Dropout(0.5)(x), (3, 4)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives_are_refused(name):
    function, shape = FUNCTIONS[name]
    x = torch.randn(shape, requires_grad=True)
    torch.autograd.grad(function(x).sum(), x)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(function(x).sum(), x, create_graph=True)


def test_also_where_the_rest_of_the_graph_has_one():
    """The loss of the codes is that of normalised directions, whose part alone was the answer."""
    x, table = torch.randn(3, 1, 4, requires_grad=True), torch.randn(5, 4)
    loss = predict_codes(x, torch.tensor([[0], [1], [2]]), table, [5], 0.5).losses.sum()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, x, create_graph=True)


def test_checkpointed_activations_are_no_second_derivative():
    model = MERTModel(tiny_config(audio_cqt_loss_m=False, checkpoint_activations=True), TaskSettings, [8])
    model(torch.randn(2, 8_000), [torch.randint(4, 12, (2, 25))])["codes_m"].losses.sum().backward()
    assert model.encoder.layers[0].fc1.weight.grad.abs().sum() > 0
