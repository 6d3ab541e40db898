"""Typed access to ``torch.autograd.Function``, whose stubs leave the context and ``apply`` untyped."""

import torch
from torch.autograd import Function
from torch.autograd.function import FunctionCtx


class Context(FunctionCtx):
    """Context of one call. A subclass declares the attributes that its function keeps for the backward.

    Attributes:
        saved_tensors: tensors given to ``save_for_backward``.
        needs_input_grad: by argument of ``forward``, whether its gradient is needed.
    """

    saved_tensors: tuple[torch.Tensor, ...]
    needs_input_grad: tuple[bool, ...]


def apply(function: type[Function], *args: object) -> torch.Tensor:
    """Return the output of an autograd function with one output."""
    output: torch.Tensor = function.apply(*args)
    return output
