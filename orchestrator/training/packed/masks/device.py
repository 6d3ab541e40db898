"""The dropout masks of a device, computed from counters by one kernel for all slots."""

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from orchestrator.training.packed.layout.blocks import Block, Layout
from orchestrator.training.packed.masks.dropout_masks import DropoutMasks, Mask
from orchestrator.training.packed.masks.streams import LEVELS, DropoutStream
from orchestrator.training.process.hardware import to_device

MAX_MODULES = 2**16
"""Modules of a base model, at most. A module's second use in a forward draws as site ``number + MAX_MODULES``."""
_THRESHOLD = 2**32 // LEVELS


class _Groups(NamedTuple):
    """The groups of N vectors, on the device; a group's vectors belong to one trial.

    Attributes:
        groups_N: group of each vector, int32.
        offsets_G: position of a vector among the N, minus its position among its trial's own vectors, int32.
        streams_G: index of each group's stream among the forward's streams; None if group g draws from stream g.
    """

    groups_N: torch.Tensor
    offsets_G: torch.Tensor
    streams_G: torch.Tensor | None


class CounterMask:
    """A mask recomputed at every use by ``kernels.apply_dropout`` and never stored."""

    def __init__(self, shape: torch.Size, site: int, counters: Mapping[str, torch.Tensor]) -> None:
        """Store the arguments of the kernel.

        Args:
            shape: N × D, or N × H × T × S.
            site: number of the module, and of its use in this forward.
            counters: tensors of ``apply_dropout``, by argument name.
        """
        self._shape = shape
        self._site = site
        self._counters = counters

    def apply(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self._write(torch.empty_like(values), values, scale)

    def apply_(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """See ``Mask.apply_``."""
        return self._write(values, values, scale)

    def _write(self, out: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
        from orchestrator.training.packed.masks.kernels import apply_dropout  # Triton comes with torch for CUDA only

        apply_dropout(values.view(self._shape), out.view(self._shape), site=self._site, scale=scale, **self._counters)
        return out


class DeviceMasks(DropoutMasks):
    """Masks on a device. Creating it counts as a forward of each stream."""

    def __init__(self, streams: Mapping[int, DropoutStream], device: str) -> None:
        """Copy the streams' counters to the device.

        Args:
            streams: by slot, in the order of the slots' rows.
            device: device of the masks.
        """
        self._streams = [*streams.values()]
        self.lora_drop_probs = {slot: stream.lora_drop_prob for slot, stream in streams.items()}
        self._device = device
        self._seeds_G = to_device(torch.tensor([stream.seed for stream in self._streams]), device)
        forwards_G = torch.tensor([stream.forwards for stream in self._streams], dtype=torch.int32)
        self._forwards_G = to_device(forwards_G, device)
        self._thresholds: dict[float | None, torch.Tensor] = {}
        self._groups: dict[tuple[int, ...], _Groups] = {}
        self._uses: dict[int, int] = {}
        for stream in self._streams:
            stream.forwards += 1

    @override
    def vector_mask(
        self, layout: Layout, values: torch.Tensor, drop_prob: float | None, site: int, slots: Container[int] | None
    ) -> Mask:
        """Slots outside ``slots`` are masked too; their scale is zero."""
        width = values.shape[-1]
        count = values.numel() // width
        if layout.is_padded(count):
            groups = self._row_groups(layout)
        else:
            groups = self._slot_groups([part.stop for _, part in layout.slot_ranges(count)])
        return self._mask(torch.Size((count, width)), groups, drop_prob, site)

    @override
    def attention_mask(self, block: Block, weights_XTS: torch.Tensor, drop_prob: float, site: int) -> Mask:
        """The block holds the rows of all slots."""
        shape = (block.num_rows, -1, *weights_XTS.shape[1:])
        return self._mask(weights_XTS.view(shape).shape, self._slot_groups(block.slot_ends), drop_prob, site)

    def _mask(self, shape: torch.Size, groups: _Groups, drop_prob: float | None, site: int) -> CounterMask:
        use = self._uses[site] = self._uses.get(site, -1) + 1
        streams = {
            "seeds_G": self._seeds_G,
            "forwards_G": self._forwards_G,
            "thresholds_G": self._thresholds_of(drop_prob),
        }
        if groups.streams_G is not None:
            streams = {name: values.index_select(0, groups.streams_G) for name, values in streams.items()}
        counters = {"groups_N": groups.groups_N, "offsets_G": groups.offsets_G, **streams}
        return CounterMask(shape, site + MAX_MODULES * use % 2**31, counters)

    def _slot_groups(self, stops: Sequence[int]) -> _Groups:
        """Return one group per slot, for the vectors of one slot after another; computed once per forward.

        Args:
            stops: position after the last vector of each slot.
        """
        if (key := tuple(stops)) not in self._groups:
            starts_G = np.array([0, *stops[:-1]], np.int32)
            self._groups[key] = self._groups_to_device(starts_G, np.array(stops, np.int32) - starts_G)
        return self._groups[key]

    def _row_groups(self, layout: Layout) -> _Groups:
        """Return one group per row, for rows padded to the longest row of the batch.

        A trial's vectors are numbered as if the trial were alone. Numbers beyond its own longest row have no effect.
        """
        # Negative numbers distinguish the key from the keys of `_slot_groups`.
        key = (layout.longest, *(number for block in layout.blocks for number in (block.num_rows, -block.length)))
        if key not in self._groups:
            rows_G = np.concatenate([np.arange(block.num_rows) for block in layout.blocks])
            streams_G = np.repeat(range(len(layout.blocks)), [block.num_rows for block in layout.blocks])
            lengths_G = np.array([block.length for block in layout.blocks])[streams_G]
            offsets_G = np.arange(layout.num_rows) * layout.longest - rows_G * lengths_G
            sizes_G = np.full(layout.num_rows, layout.longest)
            self._groups[key] = self._groups_to_device(offsets_G.astype(np.int32), sizes_G, streams_G)
        return self._groups[key]

    def _groups_to_device(
        self,
        offsets_G: NDArray[np.integer],
        sizes_G: NDArray[np.integer],
        streams_G: NDArray[np.integer] | None = None,
    ) -> _Groups:
        groups_N = torch.from_numpy(np.repeat(np.arange(len(sizes_G), dtype=np.int32), sizes_G))
        return _Groups(
            to_device(groups_N, self._device),
            to_device(torch.from_numpy(offsets_G), self._device),
            None if streams_G is None else to_device(torch.from_numpy(streams_G), self._device),
        )

    def _thresholds_of(self, drop_prob: float | None) -> torch.Tensor:
        """Return ``thresholds_G``; computed once per forward and drop probability."""
        if drop_prob not in self._thresholds:
            probs = [stream.lora_drop_prob if drop_prob is None else drop_prob for stream in self._streams]
            thresholds_G = torch.tensor([round(prob * LEVELS) * _THRESHOLD for prob in probs])
            self._thresholds[drop_prob] = to_device(thresholds_G, self._device)
        return self._thresholds[drop_prob]
