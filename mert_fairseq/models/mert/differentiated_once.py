"""Backward passes that have no derivative themselves, and say so."""

import functools
from typing import Callable

import torch


def differentiated_once(backward: Callable) -> Callable:
    """Wraps the backward pass of a torch.autograd.Function.

    What it computes in place, by oneDNN or from values that the forward pass left is a constant to autograd: a second derivative would
    lack a part and not say so. torch's `once_differentiable` lets a gradient through that follows from a constant one, as of a sum.

    Raises:
        RuntimeError: a second derivative is asked for.
    """

    @functools.wraps(backward)
    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # which is what create_graph=True does
            raise RuntimeError("MERT's layers have no second derivative: create_graph=True; allowed: create_graph=False")
        return backward(ctx, *grads)

    return once
