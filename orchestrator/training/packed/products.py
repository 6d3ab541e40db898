"""Products of each slot's rows with its own matrices, added to what is there: a loop, or grouped products.

Both have the same methods, and ``products_of`` chooses. On a CPU torch's grouped product is itself a loop that copies
its results; written out, each product is added where it belongs, at the slot's own rank and without a copy.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch.nn.functional import grouped_mm

from orchestrator.training.packed.layout import Groups, Layout

_GROUPING = {9, 10}
"""Major compute capabilities on which torch 2.13 has a kernel for grouped products, and for bfloat16 alone. Elsewhere
it loops over the groups too, after it has waited for the device to tell it where they end."""


class Span(NamedTuple):
    """A slot that has rows in this forward and adapts this layer.

    Attributes:
        slot: the slot's index.
        rows: its rows of N.
        rank: ranks that it uses, of R.
        scale: what its product is multiplied with.
    """

    slot: int
    rows: slice
    rank: int
    scale: float


class Loop:
    """A product of its own for each span."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    def down(self, x_NI: torch.Tensor, a_PRI: torch.Tensor, *, scaled: bool) -> torch.Tensor:
        """Return ``h_NR``, each slot's ``x A'``, times its scale if ``scaled``; undefined beyond a slot's rank."""
        h_NR = x_NI.new_empty(x_NI.shape[0], a_PRI.shape[1])
        for span in self._spans:
            part, alpha = h_NR[span.rows, : span.rank], span.scale if scaled else 1.0
            torch.addmm(part, x_NI[span.rows], a_PRI[span.slot, : span.rank].t(), beta=0, alpha=alpha, out=part)
        return h_NR

    def add_up(self, y_NO: torch.Tensor, h_NR: torch.Tensor, b_PRO: torch.Tensor, *, scaled: bool) -> None:
        """Add each slot's ``h B``, times its scale if ``scaled``, to ``y_NO``."""
        for span in self._spans:
            part, alpha = y_NO[span.rows], span.scale if scaled else 1.0
            torch.addmm(part, h_NR[span.rows, : span.rank], b_PRO[span.slot, : span.rank], alpha=alpha, out=part)

    def up(self, h_NR: torch.Tensor, a_PRI: torch.Tensor) -> torch.Tensor:
        """Return each slot's ``h A``, and zeros for rows of slots that do not adapt the layer."""
        whole = sum(span.rows.stop - span.rows.start for span in self._spans) == h_NR.shape[0]
        shape = (h_NR.shape[0], a_PRI.shape[2])
        y_NI = h_NR.new_empty(shape) if whole else h_NR.new_zeros(shape)
        for span in self._spans:
            torch.mm(h_NR[span.rows, : span.rank], a_PRI[span.slot, : span.rank], out=y_NI[span.rows])
        return y_NI

    def add_outer(
        self, gradient_PRM: torch.Tensor, left_NR: torch.Tensor, right_NM: torch.Tensor, *, scaled: bool
    ) -> None:
        """Add each slot's ``left' right``, times its scale if ``scaled``, to its float32 gradient."""
        for span in self._spans:
            found_RM = left_NR[span.rows, : span.rank].t() @ right_NM[span.rows]
            gradient_PRM[span.slot, : span.rank].add_(found_RM, alpha=span.scale if scaled else 1.0)


class Grouped:
    """One product for all slots that have rows; ranks and layers that a slot does not use are zeros in the stacks.

    Slots without rows are no groups: on some devices the kernel leaves what it finds where a gradient sums over no rows
    (pytorch issue 172439).
    """

    def __init__(self, groups: Groups, scales_G11: torch.Tensor) -> None:
        """Take the groups.

        Args:
            groups: G of them, where they end and whose they are.
            scales_G11: what each one's product is multiplied with; 0 where it does not adapt the layer.
        """
        self._groups = groups
        self._scales_G11 = scales_G11

    def down(self, x_NI: torch.Tensor, a_PRI: torch.Tensor, *, scaled: bool) -> torch.Tensor:
        """See ``Loop.down``."""
        return grouped_mm(x_NI, self._own(a_PRI, scaled=scaled).transpose(1, 2), offs=self._groups.ends_G)

    def add_up(self, y_NO: torch.Tensor, h_NR: torch.Tensor, b_PRO: torch.Tensor, *, scaled: bool) -> None:
        """See ``Loop.add_up``."""
        y_NO += grouped_mm(h_NR, self._own(b_PRO, scaled=scaled), offs=self._groups.ends_G)

    def up(self, h_NR: torch.Tensor, a_PRI: torch.Tensor) -> torch.Tensor:
        """See ``Loop.up``."""
        return grouped_mm(h_NR, self._own(a_PRI, scaled=False), offs=self._groups.ends_G)

    def add_outer(
        self, gradient_PRM: torch.Tensor, left_NR: torch.Tensor, right_NM: torch.Tensor, *, scaled: bool
    ) -> None:
        """See ``Loop.add_outer``."""
        found_GRM = grouped_mm(left_NR.t(), right_NM, offs=self._groups.ends_G).float()
        if scaled:
            found_GRM *= self._scales_G11
        if self._groups.slots_G is None:
            gradient_PRM += found_GRM
        else:
            gradient_PRM.index_add_(0, self._groups.slots_G, found_GRM)

    def _own(self, stack_PRM: torch.Tensor, *, scaled: bool) -> torch.Tensor:
        """Return the groups' matrices, times their scales if ``scaled``."""
        slots_G = self._groups.slots_G
        own_GRM = stack_PRM if slots_G is None else stack_PRM.index_select(0, slots_G)
        return (own_GRM * self._scales_G11).to(stack_PRM.dtype) if scaled else own_GRM


def products_of(x_NI: torch.Tensor, spans: Sequence[Span], layout: Layout) -> Loop | Grouped:
    """Return how a layer multiplies by its adapters.

    Args:
        x_NI: its input.
        spans: the slots that have rows and adapt it.
        layout: of the input.

    Raises:
        CannotPackError: the input is neither tokens nor rows of the layout.
    """
    layout.require(x_NI.shape[0])
    if not spans or not groups_pay(x_NI.device, x_NI.dtype):
        return Loop(spans)
    return grouped(spans, layout, x_NI.shape[0])


def grouped(spans: Sequence[Span], layout: Layout, count: int) -> Grouped:
    """Return the grouped products of ``count`` vectors."""
    scales = {span.slot: span.scale for span in spans}
    scales_G = layout.constant(tuple(scales.get(slot, 0.0) for slot, _ in layout.parts(count)))
    return Grouped(layout.groups(count), scales_G[:, None, None])


@cache
def groups_pay(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device multiplies groups of this format in one kernel."""
    if device.type != "cuda" or dtype is not torch.bfloat16:
        return False
    return torch.cuda.get_device_capability(device)[0] in _GROUPING
