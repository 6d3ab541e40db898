"""Positions of each slot's rows in one forward: one block per slot, padded to its own longest row.

Linear layers compute the tokens of all slots as one matrix. Attention computes each block by itself. A trial is
therefore padded exactly as it would be alone, whatever its neighbours' lengths and batch sizes. Some operations on a
device pad all rows to the longest row of the batch instead (``Layout.tokens_by_row``).

A decoder has a layout of its own beside its encoder's, because its rows have other lengths. Flat values have the shape
1 × N × D. Values that an encoder hands to a decoder have the shape N × 1 × D, so that a layer can tell them apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import torch

from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.layout.padding import PaddedGroups
from orchestrator.training.process.hardware import to_device


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """The rows of one slot.

    Attributes:
        slot: index of the slot.
        rows: first and last row of the slot in the batch of all slots.
        num_rows: B.
        tokens: first and last token of the slot among the tokens of all slots: B × T tokens.
        length: T, the tokens of the slot's longest row.
        bias_B11T: added to the attention scores, −inf at padding; None if no row is padded.
        slot_ends: in a block of several slots, the row after the last row of each.
    """

    slot: int
    rows: slice
    num_rows: int
    tokens: slice
    length: int
    bias_B11T: torch.Tensor | None
    slot_ends: tuple[int, ...] = ()


class Groups(NamedTuple):
    """The blocks of a layout as arguments of grouped products, on the device of the forward.

    Attributes:
        ends_G: position after the last vector of each block, int32.
        slots_G: slot of each block; None if every slot has a block.
    """

    ends_G: torch.Tensor
    slots_G: torch.Tensor | None


class Layout:
    """The blocks of one forward.

    Attributes:
        blocks: one per slot with rows, by ascending slot.
        device: device of the forward.
        encoder: in a decoder, the layout of its encoder's rows.
        num_tokens, num_rows: of all slots.
        longest: tokens of the longest row of all slots.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        num_slots: int,
        device: str,
        bias_B11T: torch.Tensor | None,
        encoder: "Layout | None" = None,
    ) -> None:
        """Store the blocks.

        Args:
            blocks: by ascending slot.
            num_slots: P; slots without a block have no rows.
            device: device of the tensors of this forward.
            bias_B11T: added to the attention scores of all rows; None if all rows have the same length.
            encoder: in a decoder, the layout of its encoder's rows.
        """
        self.blocks = tuple(blocks)
        self.encoder = encoder
        self.device = device
        self.num_tokens: int = blocks[-1].tokens.stop
        self.num_rows: int = blocks[-1].rows.stop
        self.longest = max(block.length for block in blocks)
        self._num_slots = num_slots
        self._bias_B11T = bias_B11T
        self._groups: dict[int, Groups] = {}
        self._ranges: dict[int, list[tuple[int, slice]]] = {}

    def layout_of(self, values: torch.Tensor) -> "Layout":
        """Return the layout of ``values``: the encoder's for N × 1 × D, else this layout."""
        encoder = self.encoder
        if encoder is not None and values.dim() > 2 and values.shape[:2] == (encoder.num_tokens, 1):
            return encoder
        return self

    def decoder_layout(self, mask_BT: torch.Tensor, dtype: torch.dtype) -> "Layout":
        """Return the layout of a decoder over the same rows.

        Args:
            mask_BT: 1 at the decoder's tokens, 0 at padding.
            dtype: number format of the attention scores.
        """
        rows = {block.slot: block.num_rows for block in self.blocks}
        return batch_layout(mask_BT, rows, self._num_slots, dtype, device=self.device, encoder=self)

    def slot_ranges(self, count: int) -> list[tuple[int, slice]]:
        """Return the slot of each block and its range among ``count`` vectors.

        The vectors are the tokens, the rows, or the tokens of rows padded to the longest row.
        """
        if count not in self._ranges:
            scale = 1 if count == self.num_rows else self.longest
            rows = [slice(block.rows.start * scale, block.rows.stop * scale) for block in self.blocks]
            ranges = [block.tokens for block in self.blocks] if count == self.num_tokens else rows
            self._ranges[count] = [(block.slot, part) for block, part in zip(self.blocks, ranges, strict=True)]
        return self._ranges[count]

    def is_padded(self, count: int) -> bool:
        """Return whether ``count`` vectors belong to rows padded to the longest row of the batch."""
        return count not in {self.num_tokens, self.num_rows}

    def require_all(self, count: int) -> None:
        """Raise ``CannotPackError`` if ``count`` vectors are not all tokens or all rows of the batch."""
        if self.is_padded(count) and count != self.num_rows * self.longest:
            counts = f"{count} vectors are neither its {self.num_tokens} tokens nor its {self.num_rows} rows"
            raise CannotPackError(f"a layer gets only part of a batch: {counts}")

    def groups(self, count: int) -> Groups:
        """Return ``slot_ranges(count)`` as arguments of grouped products; computed once per forward."""
        if count not in self._groups:
            ends_G = torch.tensor([part.stop for _, part in self.slot_ranges(count)], dtype=torch.int32)
            self._groups[count] = Groups(to_device(ends_G, self.device), self.slots_G)
        return self._groups[count]

    @cached_property
    def slots_G(self) -> torch.Tensor | None:
        """Slot of each block; None if every slot has a block."""
        slots = [block.slot for block in self.blocks]
        return None if slots == [*range(self._num_slots)] else to_device(torch.tensor(slots), self.device)

    def select_slots(self, stacked: torch.Tensor) -> torch.Tensor:
        """Return the entries of the slots with rows, where ``stacked`` has the dimension P first."""
        return stacked if self.slots_G is None else stacked.index_select(0, self.slots_G)

    def add_to_slots(self, stacked: torch.Tensor, values: torch.Tensor) -> None:
        """Add ``values``, with the dimension G first, to the entries of the slots with rows."""
        add_to_slots(stacked, self.slots_G, values)

    @cached_property
    def rows_by_block(self) -> PaddedGroups:
        """The rows of each block as a group."""
        return PaddedGroups([block.num_rows for block in self.blocks], self.device)

    @cached_property
    def tokens_by_row(self) -> PaddedGroups:
        """The tokens of each row as a group."""
        return PaddedGroups([block.length for block in self.blocks for _ in range(block.num_rows)], self.device)

    @cached_property
    def single_block(self) -> Block:
        """One block with all rows, each padded to the longest row as by ``tokens_by_row``."""
        count = self.num_rows
        return Block(
            slot=self.blocks[0].slot,
            rows=slice(0, count),
            num_rows=count,
            tokens=slice(0, count * self.longest),
            length=self.longest,
            bias_B11T=self._bias_of(slice(0, count), self.longest),
            slot_ends=tuple(block.rows.stop for block in self.blocks),
        )

    @cached_property
    def runs(self) -> list[Block]:
        """Adjacent blocks of the same length merged into one block, which carries the first block's slot.

        For operations without dropout, which treat all slots alike.
        """
        runs = []
        for length, group in groupby(self.blocks, key=lambda block: block.length):
            blocks = [*group]
            rows = slice(blocks[0].rows.start, blocks[-1].rows.stop)
            padded = any(block.bias_B11T is not None for block in blocks)
            run = Block(
                slot=blocks[0].slot,
                rows=rows,
                num_rows=sum(block.num_rows for block in blocks),
                tokens=slice(blocks[0].tokens.start, blocks[-1].tokens.stop),
                length=length,
                bias_B11T=self._bias_of(rows, length) if padded else None,
            )
            runs.append(run)
        return runs

    def _bias_of(self, rows: slice, length: int) -> torch.Tensor | None:
        return None if self._bias_B11T is None else self._bias_B11T[rows, :, :, :length]

    def flatten(self, values_BT: torch.Tensor) -> torch.Tensor:
        """Return ``values_1N`` of values padded to the longest row of the batch."""
        return self.tokens_by_row.unpad(values_BT[:, : self.longest])[None, :, 0]

    def unflatten(self, hidden_1ND: torch.Tensor) -> torch.Tensor:
        """Return ``hidden_BTD``, zero at padding, as the code after the base model expects it.

        T is 1 if ``hidden_1ND`` holds the first token of each row only.
        """
        if hidden_1ND.shape[1] == self.num_rows:
            return hidden_1ND.transpose(0, 1)
        return self.tokens_by_row.pad(hidden_1ND[0], fill=0.0)

    @cached_property
    def first_tokens_B(self) -> torch.Tensor:
        """Position of each row's first token among all tokens."""
        starts = [torch.arange(block.tokens.start, block.tokens.stop, block.length) for block in self.blocks]
        return to_device(torch.cat(starts), self.device)


def add_to_slots(stacked: torch.Tensor, slots_G: torch.Tensor | None, values: torch.Tensor) -> None:
    """Add ``values`` to the entries ``slots_G`` of ``stacked``, in its number format; None means all entries."""
    if slots_G is None:
        stacked += values
    else:
        stacked.index_add_(0, slots_G, values.to(stacked.dtype))


def batch_layout(
    mask_BT: torch.Tensor,
    rows: Mapping[int, int],
    num_slots: int,
    dtype: torch.dtype,
    *,
    device: str | None = None,
    encoder: Layout | None = None,
) -> Layout:
    """Return the layout of a batch with the rows of one slot after another.

    Args:
        mask_BT: 1 at tokens, 0 at padding on the right. The host reads the lengths: a mask on the host avoids waiting
            for the device.
        rows: number of rows by slot, ascending, in the order of the batch.
        num_slots: P.
        dtype: number format of the attention scores.
        device: device of the forward; None means the mask's.
        encoder: in a decoder, the layout of its encoder's rows.
    """
    device = device or str(mask_BT.device)
    lengths = mask_BT.sum(1).tolist()
    bias_B11T = _padding_bias(lengths, dtype, device) if min(lengths) < max(lengths) else None
    blocks: list[Block] = []
    row = token = 0
    for slot, count in rows.items():
        slot_rows, length = slice(row, row + count), int(max(lengths[row : row + count]))
        block_bias_B11T = None
        if bias_B11T is not None and min(lengths[slot_rows]) < length:
            block_bias_B11T = bias_B11T[slot_rows, :, :, :length]
        tokens = slice(token, token + count * length)
        block = Block(
            slot=slot, rows=slot_rows, num_rows=count, tokens=tokens, length=length, bias_B11T=block_bias_B11T
        )
        blocks.append(block)
        row, token = row + count, token + count * length
    return Layout(blocks, num_slots, device, bias_B11T, encoder)


def _padding_bias(lengths: Sequence[int], dtype: torch.dtype, device: str) -> torch.Tensor:
    """Return ``bias_B11T``, −inf at padding and else 0."""
    lengths_B111 = to_device(torch.tensor(lengths)[:, None, None, None], device)
    padding_B11T = torch.arange(max(lengths), device=device) >= lengths_B111
    return torch.zeros(padding_B11T.shape, dtype=dtype, device=device).masked_fill_(padding_B11T, float("-inf"))
