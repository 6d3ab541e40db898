"""Groups of vectors, stored one after another, and the same groups padded to the longest.

On a device one product over padded groups is faster than one launch per group.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.training.packed.autograd import Context, apply
from orchestrator.training.process.hardware import to_device


class PaddedGroups:
    """Pads groups of vectors to the length of the longest, and removes the padding again.

    Attributes:
        num_groups: G.
        longest: L.
    """

    def __init__(self, sizes: Sequence[int], device: str) -> None:
        """Compute the indices.

        Args:
            sizes: vectors of each group, at least one.
            device: device of the tensors to pad.
        """
        sizes_G1 = np.asarray(sizes, np.int64)[:, None]
        self.num_groups, self.longest = len(sizes), int(sizes_G1.max())
        starts_G1 = sizes_G1.cumsum(0) - sizes_G1
        positions_1L = np.arange(self.longest)[None]
        used_GL = positions_1L < sizes_G1
        self._padding_GL1: torch.Tensor | None = None
        if not used_GL.all():
            # Padding repeats the group's first vector: no value crosses from one group to another.
            self._sources_F = _array_to_device((starts_G1 + np.where(used_GL, positions_1L, 0)).ravel(), device)
            self._positions_N = _array_to_device(np.flatnonzero(used_GL), device)
            self._padding_GL1 = _array_to_device(~used_GL[:, :, None], device)

    def pad(self, values_ND: torch.Tensor, fill: float | None = None) -> torch.Tensor:
        """Return ``values_GLD``. Padding holds ``fill``, or the group's first vector if ``fill`` is None."""
        if self._padding_GL1 is None:
            return values_ND.view(self.num_groups, self.longest, -1)
        values_GLD = values_ND.index_select(0, self._sources_F).view(self.num_groups, self.longest, -1)
        return values_GLD if fill is None else values_GLD.masked_fill_(self._padding_GL1, fill)

    def unpad(self, values_GLD: torch.Tensor) -> torch.Tensor:
        """Return ``values_ND``, without the padding. Values without a last dimension get D = 1."""
        values_FD = values_GLD.reshape(self.num_groups * self.longest, *values_GLD.shape[2:] or (1,))
        return values_FD if self._padding_GL1 is None else values_FD.index_select(0, self._positions_N)


def _array_to_device(values: NDArray[np.generic], device: str) -> torch.Tensor:
    return to_device(torch.from_numpy(values), device)


class _PaddingContext(Context):
    groups: PaddedGroups
    shape: torch.Size


class _PadHeads(torch.autograd.Function):
    """``PaddedGroups.pad`` of ``values_1HND``; the padding passes no gradient."""

    @staticmethod
    def forward(ctx: _PaddingContext, values_1HND: torch.Tensor, groups: PaddedGroups) -> torch.Tensor:
        ctx.groups, ctx.shape = groups, values_1HND.shape
        _, heads, count, width = values_1HND.shape
        values_GLD = groups.pad(values_1HND.transpose(1, 2).reshape(count, heads * width))
        return values_GLD.view(1, -1, heads, width).transpose(1, 2)

    @staticmethod
    def backward(ctx: _PaddingContext, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        _, heads, count, width = ctx.shape
        grad_ND = ctx.groups.unpad(gradients[0].transpose(1, 2))
        return grad_ND.view(1, count, heads, width).transpose(1, 2), None


class _UnpadHeads(torch.autograd.Function):
    """``PaddedGroups.unpad`` of attention's output ``values_1FHD``."""

    @staticmethod
    def forward(ctx: _PaddingContext, values_1FHD: torch.Tensor, groups: PaddedGroups) -> torch.Tensor:
        ctx.groups = groups
        return groups.unpad(values_1FHD).view(1, -1, *values_1FHD.shape[2:])

    @staticmethod
    def backward(ctx: _PaddingContext, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        _, count, heads, width = gradients[0].shape
        grad_GLD = ctx.groups.pad(gradients[0].reshape(count, heads * width), fill=0.0)
        return grad_GLD.view(1, -1, heads, width), None


def pad_heads(values_1HND: torch.Tensor, groups: PaddedGroups) -> torch.Tensor:
    """Return ``values_1HFD``: the tokens of every row padded to the longest row."""
    return apply(_PadHeads, values_1HND, groups)


def unpad_heads(values_1FHD: torch.Tensor, groups: PaddedGroups) -> torch.Tensor:
    """Return ``values_1NHD``: the tokens without the padding of their rows."""
    return apply(_UnpadHeads, values_1FHD, groups)
