"""What the slots of one forward draw on a device: masks from counters, in one kernel for all of them."""

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.training.packed.masks.host import LEVELS, MODULES, DropoutStream, Mask
from orchestrator.training.process.hardware import to_device

if TYPE_CHECKING:
    from orchestrator.training.packed.layout.blocks import Block, Layout

_CUT = 2**32 // LEVELS


class _Table(NamedTuple):
    """Which draws are for which of N vectors, on the device.

    Attributes:
        groups_N: which of G groups each is of, int32.
        firsts_G: what its number among the N is above its number among its trial's own, int32.
        streams_G: which of the forward's streams each group draws from; None: its own.
    """

    groups_N: torch.Tensor
    firsts_G: torch.Tensor
    streams_G: torch.Tensor | None


class CounterMask:
    """A mask that is drawn where it is used, by ``kernels.keep``, and never stored."""

    def __init__(self, shape: torch.Size, site: int, tables: Mapping[str, torch.Tensor]) -> None:
        self._shape = shape
        self._site = site
        self._tables = tables

    def of(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """See ``Mask.of``."""
        return self._into(torch.empty_like(values), values, scale)

    def of_(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """See ``Mask.of_``."""
        return self._into(values, values, scale)

    def _into(self, into: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
        from orchestrator.training.packed.masks.kernels import keep  # Triton comes with torch for CUDA alone

        keep(values.view(self._shape), into.view(self._shape), site=self._site, scale=scale, **self._tables)
        return into


class DeviceMasks:
    """The streams of the slots of one forward, and where each one's rows stand; making it counts as a forward."""

    def __init__(self, random: Mapping[int, DropoutStream], device: str) -> None:
        """Take the slots' streams, in the order of their rows."""
        own = [*random.values()]
        self.shares: Mapping[int, float] = {slot: each.lora_dropout for slot, each in random.items()}
        self._device = device
        self._own = own
        self._seeds_G = to_device(torch.tensor([each.seed for each in own]), device)
        self._forwards_G = to_device(torch.tensor([each.forwards for each in own], dtype=torch.int32), device)
        self._cuts: dict[float | None, torch.Tensor] = {}
        self._tables: dict[tuple[int, ...], _Table] = {}
        self._used: dict[int, int] = {}
        for each in own:
            each.forwards += 1

    def rows(
        self,
        layout: "Layout",
        values: torch.Tensor,
        share: float | None,
        site: int,
        among: Container[int] | None,  # noqa: ARG002  (what a slot drops of what it does not adapt is nobody's)
    ) -> Mask:
        """See ``DropoutMasks.rows``."""
        width = values.shape[-1]
        count = values.numel() // width
        if layout.padded(count):
            table = self._by_rows(layout)
        else:
            table = self._table([part.stop for _, part in layout.parts(count)])
        return self._drawn(torch.Size((count, width)), table, share, site)

    def weights(self, block: "Block", values_CTS: torch.Tensor, share: float, site: int) -> Mask:
        """See ``DropoutMasks.weights``; the block is one of all slots' rows."""
        shape = (block.num_rows, -1, *values_CTS.shape[1:])
        return self._drawn(values_CTS.view(shape).shape, self._table(block.ends), share, site)

    def _drawn(self, shape: torch.Size, table: _Table, share: float | None, site: int) -> CounterMask:
        use = self._used[site] = self._used.get(site, -1) + 1
        streams = {"seeds_G": self._seeds_G, "forwards_G": self._forwards_G, "cuts_G": self._cut(share)}
        if table.streams_G is not None:
            streams = {name: values.index_select(0, table.streams_G) for name, values in streams.items()}
        tables = {"groups_N": table.groups_N, "firsts_G": table.firsts_G, **streams}
        return CounterMask(shape, site + MODULES * use % 2**31, tables)

    def _table(self, stops: Sequence[int]) -> _Table:
        """Return the table of vectors that stand slot after slot; made once for a forward."""
        if (key := tuple(stops)) not in self._tables:
            firsts_G = np.array([0, *stops[:-1]], np.int32)
            self._tables[key] = self._told(firsts_G, np.array(stops, np.int32) - firsts_G)
        return self._tables[key]

    def _by_rows(self, layout: "Layout") -> _Table:
        """Return the table of rows that are padded to the longest of all, numbered as in a trial by itself.

        Each row is a group. What stands behind a trial's own longest row is nobody's, whatever its number.
        """
        # Told from the ends of `_table` by the negative numbers.
        key = (layout.longest, *(number for block in layout.blocks for number in (block.num_rows, -block.length)))
        if key not in self._tables:
            rows_G = np.concatenate([np.arange(block.num_rows) for block in layout.blocks])
            own_G = np.repeat(range(len(layout.blocks)), [block.num_rows for block in layout.blocks])
            lengths_G = np.array([block.length for block in layout.blocks])[own_G]
            firsts_G = np.arange(layout.num_rows) * layout.longest - rows_G * lengths_G
            self._tables[key] = self._told(firsts_G.astype(np.int32), np.full(layout.num_rows, layout.longest), own_G)
        return self._tables[key]

    def _told(self, firsts_G: NDArray[Any], sizes_G: NDArray[Any], streams_G: NDArray[Any] | None = None) -> _Table:
        groups_N = np.repeat(np.arange(len(sizes_G), dtype=np.int32), sizes_G)
        told_N, told_G = (to_device(torch.from_numpy(each), self._device) for each in (groups_N, firsts_G))
        streams = None if streams_G is None else to_device(torch.from_numpy(streams_G), self._device)
        return _Table(told_N, told_G, streams)

    def _cut(self, share: float | None) -> torch.Tensor:
        if share not in self._cuts:
            shares = [each.lora_dropout if share is None else share for each in self._own]
            self._cuts[share] = to_device(torch.tensor([round(own * LEVELS) * _CUT for own in shares]), self._device)
        return self._cuts[share]
