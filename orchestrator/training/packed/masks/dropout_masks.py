"""The protocol of dropout masks, and the masks of a CPU, drawn from each slot's own generator."""

from collections.abc import Container, Mapping
from typing import Protocol

import torch
from typing_extensions import override

from orchestrator.training.packed.layout.blocks import Block, Layout
from orchestrator.training.packed.masks.streams import DropoutStream

_BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}
"""By number format of the values, an integer format of the same width."""


class Mask(Protocol):
    """The dropout mask of one tensor shape; every use applies the same mask."""

    def apply(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """Return a new tensor: ``scale * values`` where the mask keeps a value, else 0."""

    def apply_(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """Apply the mask to ``values``, contiguous, in place, and return them."""


class DropoutMasks(Protocol):
    """Draws the dropout masks of one forward.

    Attributes:
        lora_drop_probs: drop probability of the adapters' inputs, by slot.
    """

    lora_drop_probs: Mapping[int, float]

    def vector_mask(
        self, layout: Layout, values: torch.Tensor, drop_prob: float | None, site: int, slots: Container[int] | None
    ) -> Mask:
        """Return the mask of vectors of all slots.

        Args:
            layout: layout of the values.
            values: all tokens or all rows, in the leading dimensions.
            drop_prob: quantised; None means each slot's drop probability of the adapters' inputs.
            site: number of the module in the model.
            slots: slots with dropout here; None means all.
        """

    def attention_mask(self, block: Block, weights_XTS: torch.Tensor, drop_prob: float, site: int) -> Mask:
        """Return the mask of a block's attention weights."""


class BitMask:
    """A mask as integers of the values' width: all bits set where it keeps a value, else 0.

    Dropping is a bitwise "and", the cheapest operation for it on a CPU.
    """

    def __init__(self, bits: torch.Tensor) -> None:
        self._bits = bits

    def apply(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        kept = (values.view(self._bits.dtype) & self._bits).view(values.dtype)
        return kept if scale == 1.0 else kept.mul_(scale)

    def apply_(self, values: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """See ``Mask.apply_``."""
        values.view(self._bits.dtype).bitwise_and_(self._bits)
        return values if scale == 1.0 else values.mul_(scale)


class HostMasks(DropoutMasks):
    """Masks on a CPU. A slot's forward draws them from the slot's generator in the order of its calls."""

    def __init__(self, streams: Mapping[int, DropoutStream]) -> None:
        """Store the streams by slot."""
        self._streams = streams
        self.lora_drop_probs = {slot: stream.lora_drop_prob for slot, stream in streams.items()}

    @override
    def vector_mask(
        self, layout: Layout, values: torch.Tensor, drop_prob: float | None, site: int, slots: Container[int] | None
    ) -> Mask:
        """Slots without dropout draw nothing."""
        bits_ND = _empty_bits(values).view(-1, values.shape[-1])
        count, width = bits_ND.shape
        padded = layout.is_padded(count)
        for block, (_, part) in zip(layout.blocks, layout.slot_ranges(count), strict=True):
            stream, bits = self._streams[block.slot], bits_ND[part]
            slot_drop_prob = stream.lora_drop_prob if drop_prob is None else drop_prob
            drops = slot_drop_prob > 0 and (slots is None or block.slot in slots)
            if padded or not drops:
                bits.fill_(-1)
            if padded:  # values beyond the trial's own longest row draw nothing
                bits = bits.view(block.num_rows, -1, width)[:, : block.length]
            if drops:
                stream.fill_bits(bits, slot_drop_prob)
        return BitMask(bits_ND.view(values.shape))

    @override
    def attention_mask(self, block: Block, weights_XTS: torch.Tensor, drop_prob: float, site: int) -> Mask:
        """See ``DropoutMasks.attention_mask``."""
        bits_XTS = _empty_bits(weights_XTS)
        self._streams[block.slot].fill_bits(bits_XTS, drop_prob)
        return BitMask(bits_XTS)


def _empty_bits(values: torch.Tensor) -> torch.Tensor:
    return torch.empty(values.shape, dtype=_BITS[values.dtype], device=values.device)
