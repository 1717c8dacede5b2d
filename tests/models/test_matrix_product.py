"""Products by oneDNN against torch's own, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mert_fairseq.models.mert import matrix_product
from mert_fairseq.models.mert.gelu_linear import GeluLinear
from mert_fairseq.models.mert.matrix_product import (
    LEAST_BY_COLUMNS,
    LEAST_MULTIPLICATIONS,
    Linear,
    add_product,
    add_product_by_columns,
    prefers_mkl,
    product,
    product_by_columns,
)

LARGE, SMALL = (700, 512, 256), (7, 5, 3)


@pytest.fixture(autouse=True, params=["oneDNN", "torch"])
def float32_by(request, monkeypatch):
    """Both kinds of processors, whichever this is."""
    monkeypatch.setattr(matrix_product, "BY_ONEDNN", (torch.bfloat16, *((torch.float32,) if request.param == "oneDNN" else ())))


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


def test_the_large_shape_is_large():
    assert torch.Size(LARGE).numel() >= LEAST_MULTIPLICATIONS > torch.Size(SMALL).numel()


@pytest.mark.parametrize("rows,inner,columns", [LARGE, SMALL])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_product(rows, inner, columns, with_bias, turned):
    torch.manual_seed(0)
    left, right = torch.randn(rows, inner), torch.randn(columns, inner).t() if turned else torch.randn(inner, columns)
    bias = torch.randn(columns) if with_bias else None
    wanted = left.double() @ right.double() + (bias.double() if with_bias else 0)
    close(product(left, right, bias), wanted.float())


@pytest.mark.parametrize("rows,left_columns,right_columns", [(750, 1100, 1400), SMALL])
def test_product_by_columns(rows, left_columns, right_columns):
    torch.manual_seed(0)
    assert (rows * left_columns * right_columns >= LEAST_BY_COLUMNS) is (rows == 750)
    left, right = torch.randn(rows, left_columns), torch.randn(rows, right_columns)
    close(product_by_columns(left, right), (left.double().t() @ right.double()).float())
    for dtype in (torch.float64, torch.bfloat16):
        assert product_by_columns(left.to(dtype), right.to(dtype)).equal(left.to(dtype).t() @ right.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows, inner, columns", [(750, 1100, 1400), SMALL])
def test_products_are_added_to_what_is_there(rows, inner, columns, dtype):
    torch.manual_seed(0)
    left, right, turned = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype), torch.randn(rows, columns).to(dtype)
    share = 0.01 if dtype == torch.bfloat16 else 1e-5
    for add, factors, exact in ((add_product, (left, right), left.double() @ right.double()),
                                (add_product_by_columns, (left, turned), left.double().t() @ turned.double())):
        total = torch.randn(exact.shape).to(dtype)
        wanted = total.double() + exact
        add(total, *factors)
        assert (total.double() - wanted).abs().max() < share * wanted.abs().max()


def test_sums_may_be_kept_in_higher_precision():
    left, right, total = torch.randn(9, 4).bfloat16(), torch.randn(9, 5).bfloat16(), torch.ones(4, 5)
    add_product_by_columns(total, left, right)
    torch.testing.assert_close(total, 1 + (left.t() @ right).float())


@pytest.mark.parametrize("vendor", ["GenuineIntel", "AuthenticAMD"])
@pytest.mark.parametrize("mkl", [True, False])
def test_mkl_is_preferred_on_processors_of_its_maker(tmp_path, monkeypatch, vendor, mkl):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    assert prefers_mkl(tmp_path / "cpuinfo") is (mkl and vendor == "GenuineIntel")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_stay_what_they_are(dtype):
    left, right = torch.randn(LARGE[:2]).to(dtype), torch.randn(LARGE[1:]).to(dtype)
    torch.testing.assert_close(product(left, right), left @ right)


@pytest.mark.parametrize("shape", [LARGE, SMALL])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_has_the_values_and_gradients_of_torchs(shape, bias):
    rows, inner, columns = shape
    torch.manual_seed(0)
    reference = nn.Linear(inner, columns, bias=bias)
    ours = Linear.like(reference)
    assert all(mine is theirs for mine, theirs in zip(ours.parameters(), reference.parameters()))
    x = torch.randn(rows, 1, inner)
    weights = torch.randn(rows, 1, columns)
    gradients = []
    for layer in (ours, reference):
        given = x.clone().requires_grad_()
        out = layer(given)
        gradients.append([out, *torch.autograd.grad((out * weights).sum(), [given, *reference.parameters()])])
    for found, wanted in zip(*gradients):
        close(found, wanted)


def test_autocast_rules_the_layer():
    layer = Linear(8, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(3, 8)).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(6,), (0, 6), (2, 0, 6), (2, 3, 6)])
@pytest.mark.parametrize("kind, reference", [(Linear, lambda x: x), (GeluLinear, F.gelu)])
def test_layers_take_what_torchs_takes(kind, reference, shape):
    layer, x = kind(6, 4), torch.randn(shape)
    assert layer(x).shape == (*shape[:-1], 4)
    torch.testing.assert_close(layer(x), F.linear(reference(x), layer.weight, layer.bias))


@pytest.mark.parametrize("kind, reference", [(Linear, lambda x: x), (GeluLinear, F.gelu)])
@pytest.mark.parametrize("rows, inner, columns", [LARGE, SMALL])
def test_layers_in_bfloat16_have_the_gradients_of_float64(kind, reference, rows, inner, columns):
    """To the rounding of what is multiplied and of the sums, 2^-9 each, in the norm."""
    torch.manual_seed(0)
    layer = kind(inner, columns)
    given, grad = (torch.randn(rows, inner) + 0.5).bfloat16(), torch.randn(rows, columns).bfloat16()
    results = []
    for dtype in (torch.bfloat16, torch.float64):
        factors = [given.to(dtype).requires_grad_(), *(p.detach().bfloat16().to(dtype).requires_grad_() for p in layer.parameters())]
        if dtype == torch.float64:
            out = F.linear(reference(factors[0]), *factors[1:])
        else:
            out = torch.func.functional_call(layer, dict(zip(("weight", "bias"), factors[1:])), factors[0])
        results.append([out, *torch.autograd.grad(out, factors, grad.to(dtype))])
    for found, wanted in zip(*results):
        assert (found.double() - wanted).norm() < 0.01 * wanted.norm()
