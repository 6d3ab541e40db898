"""Vectors that stand side by side, so many of each group, and the same with every group padded to the largest.

A device is given one product for all groups that way, where one for each would take longer to launch than to compute.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from orchestrator.training.process.hardware import to_device


class Spread:
    """The way from vectors side by side to padded groups, and back."""

    def __init__(self, sizes: Sequence[int], device: str) -> None:
        """Take the size of each of G groups; none is empty."""
        sizes_G1 = np.asarray(sizes, np.int64)[:, None]
        self.groups, self.largest = len(sizes), int(sizes_G1.max())
        firsts_G1 = sizes_G1.cumsum(0) - sizes_G1
        at_1L = np.arange(self.largest)[None]
        own_GL = at_1L < sizes_G1
        self._nobodys_GL1: torch.Tensor | None = None
        if not own_GL.all():
            # A place that is nobody's is given the group's first vector: whatever stands there stays within the group.
            self._sources_M = _told((firsts_G1 + np.where(own_GL, at_1L, 0)).ravel(), device)
            self._places_N = _told(np.flatnonzero(own_GL), device)
            self._nobodys_GL1 = _told(~own_GL[:, :, None], device)

    def spread(self, values_ND: torch.Tensor, fill: float | None = None) -> torch.Tensor:
        """Return ``values_GLD``; places that are nobody's hold ``fill``, or else the group's first vector."""
        if self._nobodys_GL1 is None:
            return values_ND.view(self.groups, self.largest, -1)
        values_GLD = values_ND.index_select(0, self._sources_M).view(self.groups, self.largest, -1)
        return values_GLD if fill is None else values_GLD.masked_fill_(self._nobodys_GL1, fill)

    def gather(self, values_GLD: torch.Tensor) -> torch.Tensor:
        """Return ``values_ND`` of padded groups."""
        values_MD = values_GLD.reshape(self.groups * self.largest, *values_GLD.shape[2:] or (1,))
        return values_MD if self._nobodys_GL1 is None else values_MD.index_select(0, self._places_N)


def _told(values: "np.ndarray[Any, Any]", device: str) -> torch.Tensor:
    return to_device(torch.from_numpy(values), device)


class _ByHeads(torch.autograd.Function):
    """``spread`` of ``values_1HND``; what is computed at places that are nobody's has no gradient."""

    @staticmethod
    def forward(ctx: Any, values_1HND: torch.Tensor, way: Spread) -> torch.Tensor:  # noqa: ANN401
        ctx.way, ctx.shape = way, values_1HND.shape
        _, heads, count, width = values_1HND.shape
        values_GLD = way.spread(values_1HND.transpose(1, 2).reshape(count, heads * width))
        return values_GLD.view(1, -1, heads, width).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        _, heads, count, width = ctx.shape
        found_ND = ctx.way.gather(gradients[0].transpose(1, 2))
        return found_ND.view(1, count, heads, width).transpose(1, 2), None


class _Back(torch.autograd.Function):
    """``gather`` of what attention returns, ``values_1MHD``."""

    @staticmethod
    def forward(ctx: Any, values_1MHD: torch.Tensor, way: Spread) -> torch.Tensor:  # noqa: ANN401
        ctx.way = way
        return way.gather(values_1MHD).view(1, -1, *values_1MHD.shape[2:])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        _, count, heads, width = gradients[0].shape
        found_GLD = ctx.way.spread(gradients[0].reshape(count, heads * width), fill=0.0)
        return found_GLD.view(1, -1, heads, width), None


def spread_by_heads(values_1HND: torch.Tensor, way: Spread) -> torch.Tensor:
    """Return ``values_1HMD`` of tokens, each row as long as the longest."""
    return _ByHeads.apply(values_1HND, way)  # type: ignore[no-any-return, no-untyped-call]


def gathered(values_1MHD: torch.Tensor, way: Spread) -> torch.Tensor:
    """Return ``values_1NHD`` of rows that are as long as the longest."""
    return _Back.apply(values_1MHD, way)  # type: ignore[no-any-return, no-untyped-call]
