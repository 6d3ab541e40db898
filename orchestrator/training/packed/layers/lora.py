"""Linear layers of a pack: one frozen weight and an adapter for each slot, or a weight of its own for each slot.

LoRA (arXiv 2106.09685): ``y = x W' + b + s (drop(x) A') B``, with W shared and A, B and s = alpha / r of each row's
slot. Slots of lower rank than the widest, and slots that do not adapt the layer, hold zeros, which stay zero: with A_j
= 0 and B_j = 0 both gradients are zero. Both factors are stored with the rank first, so that a slot's own ranks are
one contiguous piece of memory for all layers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from orchestrator.training.packed.layers.frozen import FrozenWeight
from orchestrator.training.packed.layers.products import GroupedProducts, LoopedProducts, SlotRows, has_grouped_kernel
from orchestrator.training.packed.layout.blocks import Layout, current
from orchestrator.training.packed.masks.host import Mask, kept, module_number
from orchestrator.training.packed.slots.parameters import RANKED, SlotParameters


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
        products: LoopedProducts | GroupedProducts,
        mask: Mask | None,
    ) -> torch.Tensor:
        dropped_NI = x_NI if mask is None else mask.of(x_NI)
        h_NR = products.down(dropped_NI)
        y_NO = products.up(h_NR, x_NI, frozen.weight(), bias_O)
        ctx.save_for_backward(dropped_NI, h_NR)
        ctx.adapters, ctx.products, ctx.frozen, ctx.mask = (a_PRI, b_PRO), products, frozen, mask
        return y_NO

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        dropped_NI, h_NR = ctx.saved_tensors
        products, mask, (a_PRI, b_PRO) = ctx.products, ctx.mask, ctx.adapters
        ctx.products = ctx.mask = None  # or their memory would be held until the whole backward is done
        dy_NO = gradients[0].contiguous()
        products.add_to_b(grad_of(b_PRO), h_NR, dy_NO)
        dh_NR = products.grad_hidden(dy_NO)
        products.add_to_a(grad_of(a_PRI), dh_NR, dropped_NI)
        dx_NI = None
        if ctx.needs_input_grad[0] and mask is None:
            dx_NI = products.grad_input(dh_NR, dy_NO, ctx.frozen.weight())
        elif ctx.needs_input_grad[0]:
            dx_NI = mask.of_(products.grad_adapter_input(dh_NR))
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
            grad_of(weight_POI)[slot].addmm_(dy_NO[rows].t(), x_NI[rows])
            if bias_PO is not None:
                grad_of(bias_PO)[slot].add_(dy_NO[rows].sum(0))
        dx_NI = torch.cat([dy_NO[rows] @ weight_POI[slot] for slot, rows in ctx.parts])
        return dx_NI if ctx.needs_input_grad[0] else None, None, None, None


class _FullTogether(torch.autograd.Function):
    """The same for rows on a device: as many products as slots would take longer to launch than one that pads them."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch's context)
        x_NI: torch.Tensor,
        weight_POI: nn.Parameter,
        bias_PO: nn.Parameter | None,
        layout: Layout,
    ) -> torch.Tensor:
        weight_GOI, bias_GO = layout.own(weight_POI), None if bias_PO is None else layout.own(bias_PO)
        x_GBI = layout.rows.spread(x_NI)
        y_GBO = x_GBI @ weight_GOI.transpose(1, 2)
        if bias_GO is not None:
            y_GBO += bias_GO[:, None]
        ctx.save_for_backward(x_GBI, weight_GOI)
        ctx.parameters, ctx.layout = (weight_POI, bias_PO), layout
        return layout.rows.gather(y_GBO)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        (x_GBI, weight_GOI), (weight_POI, bias_PO), layout = ctx.saved_tensors, ctx.parameters, ctx.layout
        dy_GBO = layout.rows.spread(gradients[0], fill=0.0)
        layout.add_own(grad_of(weight_POI), dy_GBO.transpose(1, 2) @ x_GBI)
        if bias_PO is not None:
            layout.add_own(grad_of(bias_PO), dy_GBO.sum(1))
        return layout.rows.gather(dy_GBO @ weight_GOI) if ctx.needs_input_grad[0] else None, None, None, None


def grad_of(parameter: nn.Parameter) -> torch.Tensor:
    """Return a stack's gradient."""
    assert parameter.grad is not None
    return parameter.grad


class PackedLoRA(nn.Module):
    """A frozen linear layer with an adapter for each slot; see the module's text.

    Attributes:
        a_PRI, b_PRO: the adapters, float32.
        adapted: by slot, the rank and the scale of those that adapt this layer.
    """

    def __init__(self, base: nn.Module, frozen: FrozenWeight, name: str, stacks: SlotParameters) -> None:
        """Wrap a layer, with its weight and by its name; its adapters stand in the stacks, which are yet to settle."""
        super().__init__()
        self.frozen = frozen
        self.bias_O = base.bias.detach() if isinstance(base.bias, torch.Tensor) else None
        self.a_PRI = stacks.open(name, "A", torch.Size([self.frozen.inputs]))
        self.b_PRO = stacks.open(name, "B", torch.Size([self.frozen.outputs]))
        self.adapted: dict[int, tuple[int, float]] = {}
        self._name, self._stacks, self._site = name, stacks, module_number(base)

    @property
    def weight(self) -> torch.Tensor:
        """The frozen weight under torch's name: T5 gives a layer what its weight's type asks for."""
        return self.frozen.stored

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for tokens, or rows, of all slots; any leading dimensions."""
        layout = current().of(x)
        x_NI = x.reshape(-1, x.shape[-1]).contiguous()
        layout.require(x_NI.shape[0])
        mask = kept(layout, x_NI, self.adapted, self._site) if self.training else None
        products = self._products(layout, x_NI, mask)
        y_NO = _LoRA.apply(x_NI, self.a_PRI, self.b_PRO, self.frozen, self.bias_O, products, mask)  # type: ignore[no-untyped-call]
        return y_NO.view(*x.shape[:-1], -1)  # type: ignore[no-any-return]

    def _products(self, layout: Layout, x_NI: torch.Tensor, mask: Mask | None) -> LoopedProducts | GroupedProducts:
        parts = layout.parts(x_NI.shape[0])
        if layout.device != "cpu":  # B is scaled there, and zero where a slot does not adapt the layer
            a_GRI, b_GRO = (self._stacks.prepared(part, self._name).to(x_NI.dtype) for part in RANKED)
            if has_grouped_kernel(x_NI.device, x_NI.dtype):
                return GroupedProducts(layout.groups(x_NI.shape[0]), a_GRI, b_GRO)
            rank = a_GRI.shape[1]
            return LoopedProducts(
                [SlotRows(slot, at, rows, rank, 1.0) for at, (slot, rows) in enumerate(parts)], a_GRI, b_GRO
            )
        shares = {} if mask is None or layout.draws is None else layout.draws.shares
        spans = [
            SlotRows(slot, slot, rows, self.adapted[slot][0], self.adapted[slot][1] / (1.0 - shares.get(slot, 0.0)))
            for slot, rows in parts
            if slot in self.adapted
        ]
        return LoopedProducts(spans, self.a_PRI.to(x_NI.dtype), self.b_PRO.to(x_NI.dtype))


class PackedLinear(nn.Module):
    """A linear layer that each slot trains in full, in float32: a head, or what the base's files lack."""

    def __init__(self, base: nn.Linear, name: str, stacks: SlotParameters) -> None:
        """Take the place of a layer of this name; the slots' weights stand in the stacks."""
        super().__init__()
        self.weight_POI = stacks.open(name, "weight", base.weight.shape)
        self.bias_PO = None if base.bias is None else stacks.open(name, "bias", base.bias.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``y_NO`` for rows, or tokens, of all slots, in float32; any leading dimensions."""
        layout = current().of(x)
        x_NI = x.reshape(-1, x.shape[-1]).float()
        if layout.device != "cpu" and x_NI.shape[0] == layout.num_rows:
            y_NO = _FullTogether.apply(x_NI, self.weight_POI, self.bias_PO, layout)  # type: ignore[no-untyped-call]
        else:
            y_NO = _Full.apply(x_NI, self.weight_POI, self.bias_PO, layout.parts(x_NI.shape[0]))  # type: ignore[no-untyped-call]
        return y_NO.view(*x.shape[:-1], -1)  # type: ignore[no-any-return]
