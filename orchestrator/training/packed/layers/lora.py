"""A frozen linear layer with one LoRA adapter per slot.

LoRA (arXiv 2106.09685): ``y = x W' + b + s (drop(x) A') B``. All slots share W. A, B and s = alpha / r belong to the
slot of each row of x. The stacked A and B are zero beyond a slot's rank and where a slot does not adapt the layer, and
stay zero: for A_j = 0 and B_j = 0 both gradients are zero. Both have the rank as first dimension, which makes the
trained ranks of one slot contiguous in memory over all layers.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.nn.functional import grouped_mm

from orchestrator.training.packed.autograd import Context, apply
from orchestrator.training.packed.layers.context import current, site_of
from orchestrator.training.packed.layers.dora import DoraFunction, Magnitudes
from orchestrator.training.packed.layers.frozen import FrozenWeight, grad_of
from orchestrator.training.packed.layout.blocks import Groups, Layout, add_to_slots
from orchestrator.training.packed.masks.dropout_masks import DropoutMasks, Mask
from orchestrator.training.packed.slots.parameters import SlotParameters

_GROUPING = {9, 10}
"""Major compute capabilities for which torch 2.13 has a kernel for grouped products, for bfloat16 only. On others it
loops over the groups, after waiting for the device to return the ends of the groups."""


class PackedLoRA(nn.Module):
    """A frozen linear layer with one adapter per slot.

    Attributes:
        a_PRI, b_PRO: the adapters, float32.
        adapted: rank and scaling by slot; only slots with an adapter on this layer.
        dora: the slots with DoRA on this layer.
    """

    def __init__(
        self, base: nn.Module, frozen: FrozenWeight, name: str, parameters: SlotParameters, *, grouped: bool | None
    ) -> None:
        """Wrap a layer.

        Args:
            base: the frozen layer.
            frozen: its weight.
            name: its name in the base model.
            parameters: of all slots; they gain columns for this layer, empty until ``allocate``.
            grouped: whether a device computes grouped products; None means if it has a kernel for them.
        """
        super().__init__()
        self.frozen = frozen
        self.bias_O = base.bias.detach() if isinstance(base.bias, torch.Tensor) else None
        self.a_PRI = parameters.add_layer(name, "A", torch.Size([frozen.inputs]))
        self.b_PRO = parameters.add_layer(name, "B", torch.Size([frozen.outputs]))
        self.adapted: dict[int, tuple[int, float]] = {}
        self.dora: set[int] = set()
        self._magnitudes: Magnitudes | None = None
        self._name, self._slot_parameters, self._site, self._grouped = name, parameters, site_of(base), grouped

    @property
    def weight(self) -> torch.Tensor:
        """The frozen weight; T5 reads its number format under this name."""
        return self.frozen.stored

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for all tokens, or all rows, of all slots; any leading dimensions."""
        context = current()
        layout = context.layout.layout_of(x)
        x_NI = x.reshape(-1, x.shape[-1]).contiguous()
        layout.require_all(x_NI.shape[0])
        mask = self._mask(layout, context.masks, x_NI) if self.training and context.masks is not None else None
        products = self._products(layout, None if mask is None else context.masks, x_NI)
        y_NO = apply(LoRAFunction, x_NI, self.a_PRI, self.b_PRO, self.frozen, self.bias_O, products, mask)
        if self._magnitudes is not None and any(block.slot in self.dora for block in layout.blocks):
            drop_probs = {} if mask is None or context.masks is None else context.masks.lora_drop_probs
            rescaled = self._magnitudes.rescaled(layout, x_NI.shape[0], self.adapted, self.dora, drop_probs)
            magnitude_PO = self._magnitudes.magnitude_PO
            y_NO = apply(DoraFunction, x_NI, y_NO, magnitude_PO, rescaled, self.frozen, self.bias_O, mask)
        return y_NO.view(*x.shape[:-1], -1)

    def add_magnitude(self) -> None:
        """Add a magnitude per slot, for DoRA; empty until ``allocate``. Calling it again does nothing."""
        if self._magnitudes is None:
            magnitude_PO = self._slot_parameters.add_layer(self._name, "magnitude", torch.Size([self.frozen.outputs]))
            self._magnitudes = Magnitudes(self.frozen, self.a_PRI, self.b_PRO, magnitude_PO)

    def _mask(self, layout: Layout, masks: DropoutMasks, x_NI: torch.Tensor) -> Mask | None:
        """Return the mask of the adapters' inputs; None if no slot with an adapter on this layer has dropout.

        The factor 1 / (1 − p) of kept values is part of the adapters' scale.
        """
        if not any(prob for slot, prob in masks.lora_drop_probs.items() if slot in self.adapted):
            return None
        return masks.vector_mask(layout, x_NI, None, self._site, self.adapted)

    def _products(self, layout: Layout, masks: DropoutMasks | None, x_NI: torch.Tensor) -> "AdapterProducts":
        """Return the products of the slots with rows; ``masks`` is None if nothing is dropped."""
        ranges, dtype = layout.slot_ranges(x_NI.shape[0]), x_NI.dtype
        if layout.device != "cpu":  # prepare_matrices has scaled B; it is zero where a slot does not adapt the layer
            a_GRI, b_GRO = (matrix.to(dtype) for matrix in self._slot_parameters.prepared_matrices(self._name))
            grouped = has_grouped_kernel(x_NI.device, dtype) if self._grouped is None else self._grouped
            if grouped:
                return GroupedProducts(layout.groups(x_NI.shape[0]), a_GRI, b_GRO)
            rank = a_GRI.shape[1]
            slot_rows = [SlotRows(slot, group, rows, rank, 1.0) for group, (slot, rows) in enumerate(ranges)]
            return LoopedProducts(slot_rows, a_GRI, b_GRO)
        drop_probs = {} if masks is None else masks.lora_drop_probs
        slot_rows = [
            SlotRows(slot, slot, rows, self.adapted[slot][0], self.adapted[slot][1] / (1.0 - drop_probs.get(slot, 0.0)))
            for slot, rows in ranges
            if slot in self.adapted
        ]
        return LoopedProducts(slot_rows, self.a_PRI.to(dtype), self.b_PRO.to(dtype))


class _LoRAContext(Context):
    adapters: tuple[nn.Parameter, nn.Parameter]
    products: "AdapterProducts | None"
    frozen: FrozenWeight
    mask: Mask | None


class LoRAFunction(torch.autograd.Function):
    """The whole layer as one node of the graph. It saves the input and ``h_NR``, and adds to A's and B's gradients.

    Autograd would allocate a gradient of the stacks' size for each layer, and add it afterwards.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  (torch passes no keywords)
        ctx: _LoRAContext,
        x_NI: torch.Tensor,
        a_PRI: nn.Parameter,
        b_PRO: nn.Parameter,
        frozen: FrozenWeight,
        bias_O: torch.Tensor | None,
        products: "AdapterProducts",
        mask: Mask | None,
    ) -> torch.Tensor:
        dropped_NI = x_NI if mask is None else mask.apply(x_NI)
        h_NR = products.down(dropped_NI)
        y_NO = products.up(h_NR, x_NI, frozen.weight(), bias_O)
        ctx.save_for_backward(dropped_NI, h_NR)
        ctx.adapters, ctx.products, ctx.frozen, ctx.mask = (a_PRI, b_PRO), products, frozen, mask
        return y_NO

    @staticmethod
    def backward(ctx: _LoRAContext, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dropped_NI, h_NR = ctx.saved_tensors
        products, mask, (a_PRI, b_PRO) = ctx.products, ctx.mask, ctx.adapters
        assert products is not None, "a second backward"
        ctx.products = ctx.mask = None  # frees their memory before the end of the whole backward
        dy_NO = gradients[0].contiguous()
        products.add_grad_b(grad_of(b_PRO), h_NR, dy_NO)
        dh_NR = products.grad_hidden(dy_NO)
        products.add_grad_a(grad_of(a_PRI), dh_NR, dropped_NI)
        dx_NI = None
        if ctx.needs_input_grad[0] and mask is None:
            dx_NI = products.grad_input(dh_NR, dy_NO, ctx.frozen.weight())
        elif ctx.needs_input_grad[0] and mask is not None:
            dx_NI = mask.apply_(products.grad_adapter_input(dh_NR))
            torch.addmm(dx_NI, dy_NO, ctx.frozen.weight(), out=dx_NI)  # one pass over memory less than adding both
        return dx_NI, None, None, None, None, None, None


class AdapterProducts(Protocol):
    """Products of each slot's rows with its own A and B. ``s`` is the slot's scale, 1 where B is scaled already."""

    def down(self, x_NI: torch.Tensor) -> torch.Tensor:
        """Return ``h_NR``, each slot's ``x A'``; undefined beyond the slot's rank."""

    def up(
        self, h_NR: torch.Tensor, x_NI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the layer's output ``x W' + b + s h B``."""

    def grad_hidden(self, dy_NO: torch.Tensor) -> torch.Tensor:
        """Return ``dh_NR``, each slot's ``s dy B'``."""

    def grad_input(self, dh_NR: torch.Tensor, dy_NO: torch.Tensor, weight_OI: torch.Tensor) -> torch.Tensor:
        """Return the gradient of an input without dropout: ``dy W + dh A``."""

    def grad_adapter_input(self, dh_NR: torch.Tensor) -> torch.Tensor:
        """Return each slot's ``dh A``; zero for rows of slots without an adapter on the layer."""

    def add_grad_a(self, grad_PRI: torch.Tensor, dh_NR: torch.Tensor, x_NI: torch.Tensor) -> None:
        """Add each slot's ``dh' x`` to its float32 gradient."""

    def add_grad_b(self, grad_PRO: torch.Tensor, h_NR: torch.Tensor, dy_NO: torch.Tensor) -> None:
        """Add each slot's ``s h' dy`` to its float32 gradient."""


class SlotRows(NamedTuple):
    """The rows of a slot with an adapter on a layer.

    Attributes:
        slot: index of the slot in the stacked gradients.
        matrix: index of the slot in the stacked matrices of the products.
        rows: its rows among N.
        rank: ranks in use, of R.
        scale: s, the factor of its product.
    """

    slot: int
    matrix: int
    rows: slice
    rank: int
    scale: float


class LoopedProducts:
    """One product per slot, at the slot's rank, added in place.

    torch's grouped product on a CPU is also a loop, and copies its results.
    """

    def __init__(self, slot_rows: Sequence[SlotRows], a_GRI: torch.Tensor, b_GRO: torch.Tensor) -> None:
        """Store the rows and the matrices, in the number format of the activations."""
        self._slot_rows, self._a_GRI, self._b_GRO = slot_rows, a_GRI, b_GRO

    def down(self, x_NI: torch.Tensor) -> torch.Tensor:
        return self._down(x_NI, self._a_GRI, scaled=False)

    def up(
        self, h_NR: torch.Tensor, x_NI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        y_NO = torch.nn.functional.linear(x_NI, weight_OI, bias_O)
        self._add_up(y_NO, h_NR, self._b_GRO, scaled=True)
        return y_NO

    def grad_hidden(self, dy_NO: torch.Tensor) -> torch.Tensor:
        """See ``AdapterProducts.grad_hidden``."""
        return self._down(dy_NO, self._b_GRO, scaled=True)

    def grad_input(self, dh_NR: torch.Tensor, dy_NO: torch.Tensor, weight_OI: torch.Tensor) -> torch.Tensor:
        """See ``AdapterProducts.grad_input``."""
        dx_NI = dy_NO @ weight_OI
        self._add_up(dx_NI, dh_NR, self._a_GRI, scaled=False)
        return dx_NI

    def grad_adapter_input(self, dh_NR: torch.Tensor) -> torch.Tensor:
        """See ``AdapterProducts.grad_adapter_input``."""
        complete = sum(slot.rows.stop - slot.rows.start for slot in self._slot_rows) == dh_NR.shape[0]
        shape = (dh_NR.shape[0], self._a_GRI.shape[2])
        dx_NI = dh_NR.new_empty(shape) if complete else dh_NR.new_zeros(shape)
        for slot in self._slot_rows:
            torch.mm(dh_NR[slot.rows, : slot.rank], self._a_GRI[slot.matrix, : slot.rank], out=dx_NI[slot.rows])
        return dx_NI

    def add_grad_a(self, grad_PRI: torch.Tensor, dh_NR: torch.Tensor, x_NI: torch.Tensor) -> None:
        """See ``AdapterProducts.add_grad_a``."""
        self._add_outer(grad_PRI, dh_NR, x_NI, scaled=False)

    def add_grad_b(self, grad_PRO: torch.Tensor, h_NR: torch.Tensor, dy_NO: torch.Tensor) -> None:
        """See ``AdapterProducts.add_grad_b``."""
        self._add_outer(grad_PRO, h_NR, dy_NO, scaled=True)

    def _down(self, values_NW: torch.Tensor, matrices_GRW: torch.Tensor, *, scaled: bool) -> torch.Tensor:
        h_NR = values_NW.new_empty(values_NW.shape[0], matrices_GRW.shape[1])
        for slot in self._slot_rows:
            out, alpha = h_NR[slot.rows, : slot.rank], slot.scale if scaled else 1.0
            matrix_WR = matrices_GRW[slot.matrix, : slot.rank].t()
            torch.addmm(out, values_NW[slot.rows], matrix_WR, beta=0, alpha=alpha, out=out)
        return h_NR

    def _add_up(self, sums_NW: torch.Tensor, h_NR: torch.Tensor, matrices_GRW: torch.Tensor, *, scaled: bool) -> None:
        for slot in self._slot_rows:
            out, alpha = sums_NW[slot.rows], slot.scale if scaled else 1.0
            torch.addmm(out, h_NR[slot.rows, : slot.rank], matrices_GRW[slot.matrix, : slot.rank], alpha=alpha, out=out)

    def _add_outer(
        self, grad_PRW: torch.Tensor, left_NR: torch.Tensor, right_NW: torch.Tensor, *, scaled: bool
    ) -> None:
        for slot in self._slot_rows:
            product_RW = left_NR[slot.rows, : slot.rank].t() @ right_NW[slot.rows]
            grad_PRW[slot.slot, : slot.rank].add_(product_RW, alpha=slot.scale if scaled else 1.0)


class GroupedProducts:
    """One grouped product for all slots with rows. Unused ranks, and slots without an adapter on the layer, are zeros.

    Slots without rows form no group: for a group without rows some devices leave the gradient uninitialised (pytorch
    issue 172439).
    """

    def __init__(self, groups: Groups, a_GRI: torch.Tensor, b_GRO: torch.Tensor) -> None:
        """Store the groups and their matrices, in bfloat16; B is scaled."""
        self._groups, self._a_GRI, self._b_GRO = groups, a_GRI, b_GRO

    def down(self, x_NI: torch.Tensor) -> torch.Tensor:
        return grouped_mm(x_NI, self._a_GRI.transpose(1, 2), offs=self._groups.ends_G)

    def up(
        self, h_NR: torch.Tensor, x_NI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        """The frozen product is added in place, which saves a pass over memory."""
        y_NO = grouped_mm(h_NR, self._b_GRO, offs=self._groups.ends_G)
        torch.addmm(y_NO, x_NI, weight_OI.t(), out=y_NO)
        return y_NO if bias_O is None else y_NO.add_(bias_O)

    def grad_hidden(self, dy_NO: torch.Tensor) -> torch.Tensor:
        """See ``AdapterProducts.grad_hidden``."""
        return grouped_mm(dy_NO, self._b_GRO.transpose(1, 2), offs=self._groups.ends_G)

    def grad_input(self, dh_NR: torch.Tensor, dy_NO: torch.Tensor, weight_OI: torch.Tensor) -> torch.Tensor:
        """See ``AdapterProducts.grad_input``."""
        dx_NI = self.grad_adapter_input(dh_NR)
        return torch.addmm(dx_NI, dy_NO, weight_OI, out=dx_NI)

    def grad_adapter_input(self, dh_NR: torch.Tensor) -> torch.Tensor:
        """See ``AdapterProducts.grad_adapter_input``."""
        return grouped_mm(dh_NR, self._a_GRI, offs=self._groups.ends_G)

    def add_grad_a(self, grad_PRI: torch.Tensor, dh_NR: torch.Tensor, x_NI: torch.Tensor) -> None:
        """See ``AdapterProducts.add_grad_a``."""
        self._add_outer(grad_PRI, dh_NR, x_NI)

    def add_grad_b(self, grad_PRO: torch.Tensor, h_NR: torch.Tensor, dy_NO: torch.Tensor) -> None:
        """The update applies the scale, see ``SlotParameters.scales_P1W``."""
        self._add_outer(grad_PRO, h_NR, dy_NO)

    def _add_outer(self, grad_PRW: torch.Tensor, left_NR: torch.Tensor, right_NW: torch.Tensor) -> None:
        product_GRW = grouped_mm(left_NR.t(), right_NW, offs=self._groups.ends_G)
        add_to_slots(grad_PRW, self._groups.slots_G, product_GRW)


@cache
def has_grouped_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a device computes grouped products of this number format in one kernel."""
    if device.type != "cuda" or dtype is not torch.bfloat16:
        return False
    return torch.cuda.get_device_capability(device)[0] in _GROUPING
