"""DoRA (arXiv 2402.09353) for the slots of a packed LoRA layer.

A trial with DoRA has a magnitude m per output: ``y = b + (m / n) (x W' + s x A' B)``. The length n of each row of
``W + s B' A`` counts as a constant in the gradient, as in peft. Dropout reaches the frozen product too:
``y = b + x W' + (m / n - 1) drop(x) W' + (m / n) s drop(x) A' B``, so with ``u = x - drop(x)`` and LoRA's output
``y0 = b + x W' + s drop(x) A' B`` the output is ``y0 + (m / n - 1) (y0 - b - u W')``. It costs a second frozen product.
Slots without DoRA keep the output of LoRA.
"""

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import nn

from orchestrator.training.packed.autograd import Context
from orchestrator.training.packed.layers.frozen import FrozenWeight, grad_of
from orchestrator.training.packed.layout.blocks import Layout
from orchestrator.training.packed.masks.dropout_masks import Mask


class RescaledRows(NamedTuple):
    """The rows of a slot with DoRA.

    Attributes:
        slot: index of the slot.
        rows: its rows among N.
        norms_O: n, float32.
        keep_scale: 1 / (1 - drop probability); None without dropout.
    """

    slot: int
    rows: slice
    norms_O: torch.Tensor
    keep_scale: float | None


class Magnitudes:
    """The magnitudes of a layer: one per output and slot.

    Attributes:
        magnitude_PO: float32; zero for slots without DoRA.
    """

    def __init__(
        self, frozen: FrozenWeight, a_PRI: nn.Parameter, b_PRO: nn.Parameter, magnitude_PO: nn.Parameter
    ) -> None:
        """Store the frozen weight and the parameters of all slots."""
        self.magnitude_PO = magnitude_PO
        self._frozen, self._a_PRI, self._b_PRO = frozen, a_PRI, b_PRO

    def rescaled(
        self,
        layout: Layout,
        count: int,
        adapted: Mapping[int, tuple[int, float]],
        dora: Container[int],
        drop_probs: Mapping[int, float],
    ) -> list[RescaledRows]:
        """Return the rows to rescale among ``count`` vectors.

        Args:
            layout: layout of the vectors.
            count: N.
            adapted: rank and scaling by slot.
            dora: the slots with DoRA.
            drop_probs: drop probability of the adapters' inputs, by slot; empty if nothing is dropped.
        """
        ranges = [(slot, rows) for slot, rows in layout.slot_ranges(count) if slot in dora]
        norms = self._norms([slot for slot, _ in ranges], adapted)
        keep_scales = [1.0 / (1.0 - drop_probs[slot]) if drop_probs.get(slot) else None for slot, _ in ranges]
        return [RescaledRows(*known) for known in zip(*zip(*ranges, strict=True), norms, keep_scales, strict=True)]

    @torch.no_grad()
    def _norms(self, slots: Sequence[int], adapted: Mapping[int, tuple[int, float]]) -> list[torch.Tensor]:
        """Return ``norms_O`` of each slot; on a CPU at its own rank, so that its neighbours change no bit of it."""
        weight_OI = self._frozen.weight()
        norms = []
        for slot in slots:
            rank, scale = adapted[slot]
            a_RI, b_RO = self._a_PRI[slot, :rank], self._b_PRO[slot, :rank]
            cross_RO = (a_RI.to(weight_OI.dtype) @ weight_OI.t()).float()
            squares_O = (b_RO * (2.0 * cross_RO + scale * (a_RI @ a_RI.t()) @ b_RO)).sum(0)
            norms.append(torch.add(self._squares_O, squares_O, alpha=scale).clamp(min=_TINY).sqrt())
        return norms

    @cached_property
    def _squares_O(self) -> torch.Tensor:
        """The squared length of each row of W."""
        norms_O: torch.Tensor = torch.linalg.vector_norm(self._frozen.weight(), dim=1, dtype=torch.float32)
        return norms_O.square()


_TINY = torch.finfo(torch.float32).tiny


class _DoraContext(Context):
    magnitude: nn.Parameter
    rescaled: Sequence[RescaledRows]
    frozen: FrozenWeight
    mask: Mask | None


class DoraFunction(torch.autograd.Function):
    """Rescales the output of LoRA in place, and adds to the gradients of the slots' magnitudes."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  (torch passes no keywords)
        ctx: _DoraContext,
        x_NI: torch.Tensor,
        y_NO: torch.Tensor,
        magnitude_PO: nn.Parameter,
        rescaled: Sequence[RescaledRows],
        frozen: FrozenWeight,
        bias_O: torch.Tensor | None,
        mask: Mask | None,
    ) -> torch.Tensor:
        ctx.mark_dirty(y_NO)
        dropped_NI = None if mask is None else mask.apply(x_NI)
        weight_OI = None if mask is None else frozen.weight()
        directions = []
        for slot, rows, norms_O, keep_scale in rescaled:
            z_NO = y_NO[rows] if bias_O is None else y_NO[rows] - bias_O
            if keep_scale is not None and dropped_NI is not None and weight_OI is not None:
                z_NO = z_NO - torch.sub(x_NI[rows], dropped_NI[rows], alpha=keep_scale) @ weight_OI.t()
            directions.append(z_NO.clone() if bias_O is None and keep_scale is None else z_NO)
            y_NO[rows] += (z_NO * (magnitude_PO[slot] / norms_O - 1.0)).to(y_NO.dtype)
        ctx.save_for_backward(*directions)
        ctx.magnitude, ctx.rescaled, ctx.frozen, ctx.mask = magnitude_PO, rescaled, frozen, mask
        return y_NO

    @staticmethod
    def backward(ctx: _DoraContext, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dy_NO, dx_NI = gradients[0].clone(), None
        weight_OI = None if ctx.mask is None else ctx.frozen.weight()
        for (slot, rows, norms_O, keep_scale), z_NO in zip(ctx.rescaled, ctx.saved_tensors, strict=True):
            grad_of(ctx.magnitude)[slot].add_((dy_NO[rows] * z_NO).sum(0, dtype=torch.float32) / norms_O)
            change_NO = (dy_NO[rows] * (ctx.magnitude[slot] / norms_O - 1.0)).to(dy_NO.dtype)
            dy_NO[rows] += change_NO
            if keep_scale is not None and ctx.mask is not None and weight_OI is not None:
                dx_NI = dy_NO.new_zeros(dy_NO.shape[0], weight_OI.shape[1]) if dx_NI is None else dx_NI
                dx_NI[rows] = change_NO @ weight_OI
        if dx_NI is not None and ctx.mask is not None:
            dropped_NI = ctx.mask.apply(dx_NI)
            for _, rows, _, keep_scale in ctx.rescaled:
                if keep_scale is not None:
                    dropped_NI[rows] *= keep_scale
            dx_NI = dropped_NI - dx_NI
        return dx_NI, dy_NO, None, None, None, None, None
