"""Products of each slot's rows with its own matrices, added to what is there: a loop, or grouped products.

Both have the same methods, and the layer chooses. On a CPU torch's grouped product is itself a loop that copies
its results; written out, each product is added where it belongs, at the slot's own rank and without a copy.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch.nn.functional import grouped_mm

from orchestrator.training.packed.layout.blocks import Groups, add_to_slots

_GROUPING = {9, 10}
"""Major compute capabilities on which torch 2.13 has a kernel for grouped products, and for bfloat16 alone. Elsewhere
it loops over the groups too, after it has waited for the device to tell it where they end."""


class SlotRows(NamedTuple):
    """A slot that has rows in this forward and adapts this layer.

    Attributes:
        slot: its index in the gradients' stacks.
        at: its index in the matrices.
        rows: its rows of N.
        rank: ranks that it uses, of R.
        scale: what its product is multiplied with; 1 where its B is scaled already.
    """

    slot: int
    at: int
    rows: slice
    rank: int
    scale: float


class LoopedProducts:
    """A product of its own for each span, with ``a_GRI`` and ``b_GRO`` in the format of what flows between layers."""

    def __init__(self, spans: Sequence[SlotRows], a_GRI: torch.Tensor, b_GRO: torch.Tensor) -> None:
        self._spans, self._a_GRI, self._b_GRO = spans, a_GRI, b_GRO

    def down(self, x_NI: torch.Tensor) -> torch.Tensor:
        """Return ``h_NR``, each slot's ``x A'``; undefined beyond a slot's rank."""
        return self._down(x_NI, self._a_GRI, scaled=False)

    def up(
        self, h_NR: torch.Tensor, x_NI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the layer's output: the frozen product of ``x``, and each slot's ``s h B``."""
        y_NO = torch.nn.functional.linear(x_NI, weight_OI, bias_O)
        self._add_up(y_NO, h_NR, self._b_GRO, scaled=True)
        return y_NO

    def grad_hidden(self, dy_NO: torch.Tensor) -> torch.Tensor:
        """Return the gradient of ``down``'s result, each slot's ``s dy B'``."""
        return self._down(dy_NO, self._b_GRO, scaled=True)

    def grad_input(self, dh_NR: torch.Tensor, dy_NO: torch.Tensor, weight_OI: torch.Tensor) -> torch.Tensor:
        """Return the gradient of an input of which nothing was dropped: ``dy W``, and each slot's ``dh A``."""
        dx_NI = dy_NO @ weight_OI
        self._add_up(dx_NI, dh_NR, self._a_GRI, scaled=False)
        return dx_NI

    def grad_adapter_input(self, dh_NR: torch.Tensor) -> torch.Tensor:
        """Return each slot's ``dh A``, and zeros for rows of slots that do not adapt the layer."""
        whole = sum(span.rows.stop - span.rows.start for span in self._spans) == dh_NR.shape[0]
        shape = (dh_NR.shape[0], self._a_GRI.shape[2])
        dx_NI = dh_NR.new_empty(shape) if whole else dh_NR.new_zeros(shape)
        for span in self._spans:
            torch.mm(dh_NR[span.rows, : span.rank], self._a_GRI[span.at, : span.rank], out=dx_NI[span.rows])
        return dx_NI

    def add_to_a(self, gradient_PRI: torch.Tensor, dh_NR: torch.Tensor, x_NI: torch.Tensor) -> None:
        """Add each slot's ``dh' x`` to its float32 gradient."""
        self._add_outer(gradient_PRI, dh_NR, x_NI, scaled=False)

    def add_to_b(self, gradient_PRO: torch.Tensor, h_NR: torch.Tensor, dy_NO: torch.Tensor) -> None:
        """Add each slot's ``s h' dy`` to its float32 gradient."""
        self._add_outer(gradient_PRO, h_NR, dy_NO, scaled=True)

    def _down(self, x_NI: torch.Tensor, a_GRI: torch.Tensor, *, scaled: bool) -> torch.Tensor:
        h_NR = x_NI.new_empty(x_NI.shape[0], a_GRI.shape[1])
        for span in self._spans:
            part, alpha = h_NR[span.rows, : span.rank], span.scale if scaled else 1.0
            torch.addmm(part, x_NI[span.rows], a_GRI[span.at, : span.rank].t(), beta=0, alpha=alpha, out=part)
        return h_NR

    def _add_up(self, y_NO: torch.Tensor, h_NR: torch.Tensor, b_GRO: torch.Tensor, *, scaled: bool) -> None:
        for span in self._spans:
            part, alpha = y_NO[span.rows], span.scale if scaled else 1.0
            torch.addmm(part, h_NR[span.rows, : span.rank], b_GRO[span.at, : span.rank], alpha=alpha, out=part)

    def _add_outer(
        self, gradient_PRM: torch.Tensor, left_NR: torch.Tensor, right_NM: torch.Tensor, *, scaled: bool
    ) -> None:
        for span in self._spans:
            found_RM = left_NR[span.rows, : span.rank].t() @ right_NM[span.rows]
            gradient_PRM[span.slot, : span.rank].add_(found_RM, alpha=span.scale if scaled else 1.0)


class GroupedProducts:
    """One product for all slots that have rows; ranks and layers that a slot does not use are zeros in the stacks.

    Slots without rows are no groups: on some devices the kernel leaves what it finds where a gradient sums over no rows
    (pytorch issue 172439).
    """

    def __init__(self, groups: Groups, a_GRI: torch.Tensor, b_GRO: torch.Tensor) -> None:
        """Take the groups, G of them, and their matrices, in bfloat16; B is scaled already."""
        self._groups, self._a_GRI, self._b_GRO = groups, a_GRI, b_GRO

    def down(self, x_NI: torch.Tensor) -> torch.Tensor:
        """See ``LoopedProducts.down``."""
        return grouped_mm(x_NI, self._a_GRI.transpose(1, 2), offs=self._groups.ends_G)

    def up(
        self, h_NR: torch.Tensor, x_NI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        """See ``LoopedProducts.up``. The frozen product adds itself, which saves a pass over memory."""
        y_NO = grouped_mm(h_NR, self._b_GRO, offs=self._groups.ends_G)
        torch.addmm(y_NO, x_NI, weight_OI.t(), out=y_NO)
        return y_NO if bias_O is None else y_NO.add_(bias_O)

    def grad_hidden(self, dy_NO: torch.Tensor) -> torch.Tensor:
        """See ``LoopedProducts.grad_hidden``."""
        return grouped_mm(dy_NO, self._b_GRO.transpose(1, 2), offs=self._groups.ends_G)

    def grad_input(self, dh_NR: torch.Tensor, dy_NO: torch.Tensor, weight_OI: torch.Tensor) -> torch.Tensor:
        """See ``LoopedProducts.grad_input``."""
        dx_NI = self.grad_adapter_input(dh_NR)
        return torch.addmm(dx_NI, dy_NO, weight_OI, out=dx_NI)

    def grad_adapter_input(self, dh_NR: torch.Tensor) -> torch.Tensor:
        """See ``LoopedProducts.grad_adapter_input``."""
        return grouped_mm(dh_NR, self._a_GRI, offs=self._groups.ends_G)

    def add_to_a(self, gradient_PRI: torch.Tensor, dh_NR: torch.Tensor, x_NI: torch.Tensor) -> None:
        """See ``LoopedProducts.add_to_a``."""
        self._add_outer(gradient_PRI, dh_NR, x_NI)

    def add_to_b(self, gradient_PRO: torch.Tensor, h_NR: torch.Tensor, dy_NO: torch.Tensor) -> None:
        """See ``LoopedProducts.add_to_b``; not scaled: see ``SlotParameters.prepare``."""
        self._add_outer(gradient_PRO, h_NR, dy_NO)

    def _add_outer(self, gradient_PRM: torch.Tensor, left_NR: torch.Tensor, right_NM: torch.Tensor) -> None:
        found_GRM = grouped_mm(left_NR.t(), right_NM, offs=self._groups.ends_G)
        add_to_slots(gradient_PRM, self._groups.slots_G, found_GRM)


@cache
def has_grouped_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device multiplies groups of this format in one kernel."""
    if device.type != "cuda" or dtype is not torch.bfloat16:
        return False
    return torch.cuda.get_device_capability(device)[0] in _GROUPING
