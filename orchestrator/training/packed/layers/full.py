"""Layers trained in full by each slot, in float32: heads, and layers missing from the base model's files."""

from collections.abc import Sequence

import torch
from torch import nn

from orchestrator.training.packed.autograd import Context, apply
from orchestrator.training.packed.layers.context import current
from orchestrator.training.packed.layers.frozen import grad_of
from orchestrator.training.packed.layout.blocks import Layout
from orchestrator.training.packed.slots.parameters import SlotParameters


class PackedLinear(nn.Module):
    """A linear layer with one weight and one bias per slot, float32."""

    def __init__(self, base: nn.Linear, name: str, parameters: SlotParameters) -> None:
        """Replace a layer.

        Args:
            base: the layer to replace.
            name: its name in the base model.
            parameters: of all slots; they gain columns for this layer.
        """
        super().__init__()
        self.weight_POI = parameters.add_layer(name, "weight", base.weight.shape)
        self.bias_PO = None if base.bias is None else parameters.add_layer(name, "bias", base.bias.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the float32 output for all tokens, or all rows, of all slots; any leading dimensions."""
        layout = current().layout.layout_of(x)
        x_NI = x.reshape(-1, x.shape[-1]).float()
        if layout.device != "cpu" and x_NI.shape[0] == layout.num_rows:
            y_NO = apply(_PaddedLinear, x_NI, self.weight_POI, self.bias_PO, layout)
        else:
            y_NO = apply(_LoopedLinear, x_NI, self.weight_POI, self.bias_PO, layout.slot_ranges(x_NI.shape[0]))
        return y_NO.view(*x.shape[:-1], -1)


class PackedNorm(nn.Module):
    """A layer normalisation over the last dimension with one weight and one bias per slot, float32."""

    def __init__(self, base: nn.LayerNorm, name: str, parameters: SlotParameters) -> None:
        """Replace a layer; see ``PackedLinear``."""
        super().__init__()
        self.eps = base.eps
        self.weight_PI = parameters.add_layer(name, "norm", base.weight.shape)
        self.bias_PI = None if base.bias is None else parameters.add_layer(name, "bias", base.bias.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the float32 output for all tokens, or all rows, of all slots; any leading dimensions."""
        layout = current().layout.layout_of(x)
        x_NI = x.reshape(-1, x.shape[-1]).float()
        normed_NI = nn.functional.layer_norm(x_NI, x_NI.shape[-1:], eps=self.eps)
        return apply(_Affine, normed_NI, self.weight_PI, self.bias_PI, layout.slot_ranges(x_NI.shape[0])).view(x.shape)


class _SlotContext(Context):
    parameters: tuple[nn.Parameter, nn.Parameter | None]
    ranges: Sequence[tuple[int, slice]]


class _LoopedLinear(torch.autograd.Function):
    """One product per slot, for few rows and outputs too narrow for grouped products (two classes).

    It adds only to the gradients of slots with rows, so that several threads can work on different slots.
    """

    @staticmethod
    def forward(
        ctx: _SlotContext,
        x_NI: torch.Tensor,
        weight_POI: nn.Parameter,
        bias_PO: nn.Parameter | None,
        ranges: Sequence[tuple[int, slice]],
    ) -> torch.Tensor:
        ctx.save_for_backward(x_NI)
        ctx.parameters, ctx.ranges = (weight_POI, bias_PO), ranges
        return torch.cat(
            [
                torch.nn.functional.linear(x_NI[rows], weight_POI[slot], None if bias_PO is None else bias_PO[slot])
                for slot, rows in ranges
            ]
        )

    @staticmethod
    def backward(ctx: _SlotContext, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x_NI,), (weight_POI, bias_PO), dy_NO = ctx.saved_tensors, ctx.parameters, gradients[0]
        for slot, rows in ctx.ranges:
            grad_of(weight_POI)[slot].addmm_(dy_NO[rows].t(), x_NI[rows])
            if bias_PO is not None:
                grad_of(bias_PO)[slot].add_(dy_NO[rows].sum(0))
        dx_NI = torch.cat([dy_NO[rows] @ weight_POI[slot] for slot, rows in ctx.ranges])
        return dx_NI if ctx.needs_input_grad[0] else None, None, None, None


class _LayoutContext(Context):
    parameters: tuple[nn.Parameter, nn.Parameter | None]
    layout: Layout


class _PaddedLinear(torch.autograd.Function):
    """One product over rows padded to the largest slot, for a device: one launch per slot would take longer."""

    @staticmethod
    def forward(
        ctx: _LayoutContext,
        x_NI: torch.Tensor,
        weight_POI: nn.Parameter,
        bias_PO: nn.Parameter | None,
        layout: Layout,
    ) -> torch.Tensor:
        weight_GOI = layout.select_slots(weight_POI)
        x_GLI = layout.rows_by_block.pad(x_NI)
        y_GLO = x_GLI @ weight_GOI.transpose(1, 2)
        if bias_PO is not None:
            y_GLO += layout.select_slots(bias_PO)[:, None]
        ctx.save_for_backward(x_GLI, weight_GOI)
        ctx.parameters, ctx.layout = (weight_POI, bias_PO), layout
        return layout.rows_by_block.unpad(y_GLO)

    @staticmethod
    def backward(ctx: _LayoutContext, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x_GLI, weight_GOI), (weight_POI, bias_PO), layout = ctx.saved_tensors, ctx.parameters, ctx.layout
        dy_GLO = layout.rows_by_block.pad(gradients[0], fill=0.0)
        layout.add_to_slots(grad_of(weight_POI), dy_GLO.transpose(1, 2) @ x_GLI)
        if bias_PO is not None:
            layout.add_to_slots(grad_of(bias_PO), dy_GLO.sum(1))
        return layout.rows_by_block.unpad(dy_GLO @ weight_GOI) if ctx.needs_input_grad[0] else None, None, None, None


class _Affine(torch.autograd.Function):
    """``y = x * weight + bias`` with the parameters of each row's slot; see ``_LoopedLinear`` for the gradients."""

    @staticmethod
    def forward(
        ctx: _SlotContext,
        x_NI: torch.Tensor,
        weight_PI: nn.Parameter,
        bias_PI: nn.Parameter | None,
        ranges: Sequence[tuple[int, slice]],
    ) -> torch.Tensor:
        ctx.save_for_backward(x_NI)
        ctx.parameters, ctx.ranges = (weight_PI, bias_PI), ranges
        outputs = [x_NI[rows] * weight_PI[slot] for slot, rows in ranges]
        if bias_PI is not None:
            outputs = [output + bias_PI[slot] for output, (slot, _) in zip(outputs, ranges, strict=True)]
        return torch.cat(outputs)

    @staticmethod
    def backward(ctx: _SlotContext, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x_NI,), (weight_PI, bias_PI), dy_NI = ctx.saved_tensors, ctx.parameters, gradients[0]
        for slot, rows in ctx.ranges:
            grad_of(weight_PI)[slot].add_((dy_NI[rows] * x_NI[rows]).sum(0))
            if bias_PI is not None:
                grad_of(bias_PI)[slot].add_(dy_NI[rows].sum(0))
        dx_NI = torch.cat([dy_NI[rows] * weight_PI[slot] for slot, rows in ctx.ranges])
        return dx_NI if ctx.needs_input_grad[0] else None, None, None, None
