"""Linear layers of a pack: one frozen weight and an adapter for each slot, or a weight of its own for each slot.

LoRA (arXiv 2106.09685): ``y = x W' + b + s (drop(x) A') B``, with W shared and A, B and s = alpha / r of each row's
slot. Slots of lower rank than the widest, and slots that do not adapt the layer, hold zeros, which stay zero: with A_j
= 0 and B_j = 0 both gradients are zero. Both factors are stored with the rank first, so that a slot's own ranks are
one contiguous piece of memory.
"""

from typing import Any

import torch
from torch import nn

from orchestrator.training.packed.layout import current
from orchestrator.training.packed.randomness import lora_mask


def grouped_mm(left_NK: torch.Tensor, right_PKM: torch.Tensor, ends_P: torch.Tensor) -> torch.Tensor:
    """Return ``product_NM``: each slot's rows times its own matrix, in one call whatever the number of slots.

    Also, with ``left_KN`` and ``right_NM`` (both two-dimensional), ``product_PKM``: a product over each slot's rows.
    """
    return torch.nn.functional.grouped_mm(left_NK, right_PKM, offs=ends_P)


class _LoRA(torch.autograd.Function):
    """The layer as one node: it saves the input and the rank-wide product, and makes no gradient for W and b."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  (torch passes no keywords)
        ctx: Any,  # noqa: ANN401  (torch's context)
        x_NI: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        a_PRI: torch.Tensor,
        b_PRO: torch.Tensor,
        scale_P: torch.Tensor,
        ends_P: torch.Tensor,
        mask_NI: torch.Tensor | None,
    ) -> torch.Tensor:
        a = a_PRI.to(x_NI.dtype)
        b = (b_PRO * scale_P[:, None, None]).to(x_NI.dtype)
        dropped_NI = x_NI if mask_NI is None else x_NI * mask_NI
        h_NR = grouped_mm(dropped_NI, a.transpose(1, 2), ends_P)
        y_NO = torch.nn.functional.linear(x_NI, weight_OI, bias_O)
        y_NO += grouped_mm(h_NR, b, ends_P)
        ctx.save_for_backward(dropped_NI, h_NR, weight_OI, a, b, scale_P, ends_P, mask_NI)
        return y_NO

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        dropped_NI, h_NR, weight_OI, a, b, scale_P, ends_P, mask_NI = ctx.saved_tensors
        dy_NO = gradients[0].contiguous()
        dh_NR = grouped_mm(dy_NO, b.transpose(1, 2), ends_P)
        db_PRO = grouped_mm(h_NR.t(), dy_NO, ends_P).float() * scale_P[:, None, None]
        da_PRI = grouped_mm(dh_NR.t(), dropped_NI, ends_P).float()
        dx_NI = None
        if ctx.needs_input_grad[0]:
            dx_NI = dy_NO @ weight_OI
            through_NI = grouped_mm(dh_NR, a, ends_P)
            dx_NI += through_NI if mask_NI is None else through_NI * mask_NI
        return dx_NI, None, None, da_PRI, db_PRO, None, None, None


class PackedLoRA(nn.Module):
    """A frozen linear layer with an adapter for each slot; see the module's text.

    Attributes:
        a_PRI, b_PRO: the adapters, float32.
        scale_P: what each slot's product is multiplied with; zero where a slot does not adapt this layer.
    """

    def __init__(self, base: nn.Module, slots: int, rank: int) -> None:
        """Wrap ``nn.Linear``, or transformers' ``Conv1D``, which stores its weight transposed."""
        super().__init__()
        assert isinstance(base.weight, torch.Tensor)
        weight = base.weight.detach()
        self.weight_OI = weight if isinstance(base, nn.Linear) else weight.t().contiguous()
        self.bias_O = base.bias.detach() if isinstance(base.bias, torch.Tensor) else None
        outputs, inputs = self.weight_OI.shape
        device = weight.device
        self.a_PRI = nn.Parameter(torch.zeros(slots, rank, inputs, device=device))
        self.b_PRO = nn.Parameter(torch.zeros(slots, rank, outputs, device=device))
        self.scale_P = torch.zeros(slots, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for tokens, or rows, of all slots; any leading dimensions."""
        layout = current()
        x_NI = x.reshape(-1, x.shape[-1])
        mask_NI = lora_mask(layout, x_NI.shape[0], x_NI.shape[1], x.dtype) if self.training else None
        ends_P = layout.ends(x_NI.shape[0])
        y_NO = _LoRA.apply(x_NI, self.weight_OI, self.bias_O, self.a_PRI, self.b_PRO, self.scale_P, ends_P, mask_NI)  # type: ignore[no-untyped-call]
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
        layout = current()
        x_NI = x.reshape(-1, x.shape[-1]).float()
        parts = layout.parts(x_NI.shape[0])
        # Few rows, and outputs (two classes) narrower than grouped products may be: products of their own.
        y_NO = torch.cat(
            [
                torch.nn.functional.linear(
                    x_NI[part], self.weight_POI[slot], None if self.bias_PO is None else self.bias_PO[slot]
                )
                for slot, part in parts
            ]
        )
        return y_NO.view(*x.shape[:-1], -1)
