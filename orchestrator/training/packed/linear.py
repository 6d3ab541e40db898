"""Linear layers of a pack: one frozen weight and an adapter for each slot, or a weight of its own for each slot.

LoRA (arXiv 2106.09685): ``y = x W' + b + s (drop(x) A') B``, with W shared and A, B and s = alpha / r of each row's
slot. Slots of lower rank than the widest, and slots that do not adapt the layer, hold zeros, which stay zero: with A_j
= 0 and B_j = 0 both gradients are zero. Both factors are stored with the rank first, so that a slot's own ranks are
one contiguous piece of memory.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from orchestrator.training.packed.frozen import FrozenWeight
from orchestrator.training.packed.layout import current
from orchestrator.training.packed.products import Grouped, Loop, Span, products_of
from orchestrator.training.packed.randomness import kept, masked, masked_


class _LoRA(torch.autograd.Function):
    """The layer as one node. It saves the input and the rank-wide product, and adds to the adapters' gradients itself.

    Autograd would make a gradient as wide as the stacks for each layer, and then add it.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  (torch passes no keywords)
        ctx: Any,  # noqa: ANN401  (torch's context)
        x_NI: torch.Tensor,
        a_PRI: nn.Parameter,
        b_PRO: nn.Parameter,
        frozen: FrozenWeight,
        bias_O: torch.Tensor | None,
        products: Loop | Grouped,
        kept_NI: torch.Tensor | None,
    ) -> torch.Tensor:
        a, b = a_PRI.to(x_NI.dtype), b_PRO.to(x_NI.dtype)
        dropped_NI = x_NI if kept_NI is None else masked(x_NI, kept_NI)
        h_NR = products.down(dropped_NI, a, scaled=False)
        y_NO = torch.nn.functional.linear(x_NI, frozen.weight(), bias_O)
        products.add_up(y_NO, h_NR, b, scaled=True)
        ctx.save_for_backward(dropped_NI, h_NR, a, b, kept_NI)
        ctx.adapters, ctx.products, ctx.frozen = (a_PRI, b_PRO), products, frozen
        return y_NO

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        dropped_NI, h_NR, a, b, kept_NI = ctx.saved_tensors
        products, (a_PRI, b_PRO) = ctx.products, ctx.adapters
        dy_NO = gradients[0].contiguous()
        products.add_outer(gradient_of(b_PRO), h_NR, dy_NO, scaled=True)
        dh_NR = products.down(dy_NO, b, scaled=True)
        products.add_outer(gradient_of(a_PRI), dh_NR, dropped_NI, scaled=False)
        dx_NI = None
        if ctx.needs_input_grad[0] and kept_NI is None:
            dx_NI = dy_NO @ ctx.frozen.weight()
            products.add_up(dx_NI, dh_NR, a, scaled=False)
        elif ctx.needs_input_grad[0]:
            dx_NI = masked_(products.up(dh_NR, a), kept_NI)
            torch.addmm(dx_NI, dy_NO, ctx.frozen.weight(), out=dx_NI)  # a pass over memory less than a sum of both
        return dx_NI, None, None, None, None, None, None


class _Full(torch.autograd.Function):
    """A weight of its own for each slot; adds to the gradients of the slots it was given rows of, and to no others'.

    Few rows, and outputs (two classes) narrower than grouped products may be: products of their own.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch's context)
        x_NI: torch.Tensor,
        weight_POI: nn.Parameter,
        bias_PO: nn.Parameter | None,
        parts: Sequence[tuple[int, slice]],
    ) -> torch.Tensor:
        ctx.save_for_backward(x_NI)
        ctx.parameters, ctx.parts = (weight_POI, bias_PO), parts
        return torch.cat(
            [
                torch.nn.functional.linear(x_NI[rows], weight_POI[slot], None if bias_PO is None else bias_PO[slot])
                for slot, rows in parts
            ]
        )

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        (x_NI,), (weight_POI, bias_PO), dy_NO = ctx.saved_tensors, ctx.parameters, gradients[0]
        for slot, rows in ctx.parts:
            gradient_of(weight_POI)[slot].addmm_(dy_NO[rows].t(), x_NI[rows])
            if bias_PO is not None:
                gradient_of(bias_PO)[slot].add_(dy_NO[rows].sum(0))
        dx_NI = torch.cat([dy_NO[rows] @ weight_POI[slot] for slot, rows in ctx.parts])
        return dx_NI if ctx.needs_input_grad[0] else None, None, None, None


def gradient_of(parameter: nn.Parameter) -> torch.Tensor:
    """Return a stack's gradient, zeros if it has none yet."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class PackedLoRA(nn.Module):
    """A frozen linear layer with an adapter for each slot; see the module's text.

    Attributes:
        a_PRI, b_PRO: the adapters, float32.
        adapted: by slot, the rank and the scale of those that adapt this layer.
    """

    def __init__(self, base: nn.Module, slots: int, rank: int) -> None:
        """Wrap a layer whose weight ``FrozenWeight`` knows."""
        super().__init__()
        self.frozen = FrozenWeight.of(base)
        self.bias_O = base.bias.detach() if isinstance(base.bias, torch.Tensor) else None
        outputs, inputs, device = self.frozen.outputs, self.frozen.inputs, self.frozen.stored.device
        self.a_PRI = nn.Parameter(torch.zeros(slots, rank, inputs, device=device))
        self.b_PRO = nn.Parameter(torch.zeros(slots, rank, outputs, device=device))
        self.adapted: dict[int, tuple[int, float]] = {}

    @property
    def weight(self) -> torch.Tensor:
        """The frozen weight under torch's name: T5 gives a layer what its weight's type asks for."""
        return self.frozen.stored

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for tokens, or rows, of all slots; any leading dimensions."""
        layout = current().of(x)
        x_NI = x.reshape(-1, x.shape[-1]).contiguous()
        kept_NI, shares = kept(layout, x_NI, self.adapted) if self.training else (None, {})
        spans = [
            Span(slot, rows, self.adapted[slot][0], self.adapted[slot][1] / (1.0 - shares.get(slot, 0.0)))
            for slot, rows in layout.parts(x_NI.shape[0])
            if slot in self.adapted
        ]
        products = products_of(x_NI, spans, layout)
        y_NO = _LoRA.apply(x_NI, self.a_PRI, self.b_PRO, self.frozen, self.bias_O, products, kept_NI)  # type: ignore[no-untyped-call]
        return y_NO.view(*x.shape[:-1], -1)  # type: ignore[no-any-return]


class PackedLinear(nn.Module):
    """A linear layer that each slot trains in full, in float32: a head, or what the base's files lack."""

    def __init__(self, base: nn.Linear, slots: int) -> None:
        super().__init__()
        device = base.weight.device
        self.weight_POI = nn.Parameter(torch.zeros(slots, *base.weight.shape, device=device))
        self.bias_PO = None if base.bias is None else nn.Parameter(torch.zeros(slots, *base.bias.shape, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``y_NO`` for rows, or tokens, of all slots, in float32; any leading dimensions."""
        layout = current().of(x)
        x_NI = x.reshape(-1, x.shape[-1]).float()
        y_NO = _Full.apply(x_NI, self.weight_POI, self.bias_PO, layout.parts(x_NI.shape[0]))  # type: ignore[no-untyped-call]
        return y_NO.view(*x.shape[:-1], -1)  # type: ignore[no-any-return]
