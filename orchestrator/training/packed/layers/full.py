"""Layer normalisation of a pack with a scale and a shift for each slot: some heads hold one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from orchestrator.training.packed.layers.lora import grad_of
from orchestrator.training.packed.layout.blocks import current
from orchestrator.training.packed.slots.parameters import SlotParameters


class _Affine(torch.autograd.Function):
    """``y = x * weight + bias`` with those of each row's slot.

    It adds to the gradients of the slots that it was given rows of, and to no others': several threads may be at work.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  (torch's context)
        x_NI: torch.Tensor,
        weight_PI: nn.Parameter,
        bias_PI: nn.Parameter | None,
        parts: Sequence[tuple[int, slice]],
    ) -> torch.Tensor:
        ctx.save_for_backward(x_NI)
        ctx.parameters, ctx.parts = (weight_PI, bias_PI), parts
        y_NI = [x_NI[rows] * weight_PI[slot] for slot, rows in parts]
        if bias_PI is not None:
            y_NI = [y_BI + bias_PI[slot] for y_BI, (slot, _) in zip(y_NI, parts, strict=True)]
        return torch.cat(y_NI)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        (x_NI,), (weight_PI, bias_PI), dy_NI = ctx.saved_tensors, ctx.parameters, gradients[0]
        for slot, rows in ctx.parts:
            grad_of(weight_PI)[slot].add_((dy_NI[rows] * x_NI[rows]).sum(0))
            if bias_PI is not None:
                grad_of(bias_PI)[slot].add_(dy_NI[rows].sum(0))
        dx_NI = torch.cat([dy_NI[rows] * weight_PI[slot] for slot, rows in ctx.parts])
        return dx_NI if ctx.needs_input_grad[0] else None, None, None, None


class PackedNorm(nn.Module):
    """A layer normalisation over the last dimension that each slot trains in full, in float32."""

    def __init__(self, base: nn.LayerNorm, name: str, stacks: SlotParameters) -> None:
        """Take the place of a layer of this name; the slots' weights stand in the stacks."""
        super().__init__()
        self.eps = base.eps
        self.weight_PI = stacks.open(name, "weight", base.weight.shape)
        self.bias_PI = None if base.bias is None else stacks.open(name, "bias", base.bias.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for rows, or tokens, of all slots, in float32; any leading dimensions."""
        layout = current().of(x)
        x_NI = x.reshape(-1, x.shape[-1]).float()
        normed_NI = nn.functional.layer_norm(x_NI, x_NI.shape[-1:], eps=self.eps)
        y_NI = _Affine.apply(normed_NI, self.weight_PI, self.bias_PI, layout.parts(x_NI.shape[0]))  # type: ignore[no-untyped-call]
        return y_NI.view(x.shape)  # type: ignore[no-any-return]
