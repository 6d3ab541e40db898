"""Where each slot's rows stand in one forward: block after block, each padded to its own longest row alone.

Linear layers see all tokens as one matrix; attention sees a slot's block. So padding is what a trial would have by
itself, whatever lengths and batch sizes its neighbours have. What a device computes for all rows at once is spread to
the longest of all for as long as that takes (``Layout.tokens``).

What a decoder writes has a layout of its own, beside that of what its encoder read. Flat values have the shape
1 × N × D, but those that an encoder hands to a decoder N × 1 × D: so a layer can tell which of the two it is given.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import torch

from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.spreading import Spread
from orchestrator.training.process.hardware import to_device

if TYPE_CHECKING:
    from orchestrator.training.packed.randomness import Draws


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One slot's rows.

    Attributes:
        slot: the slot's index.
        rows: its rows in the batch of all slots, as a slice.
        tokens: its tokens among those of all slots, as a slice; ``B * T`` of them.
        length: T, tokens of its longest row.
        padding_B11T: what is added to attention scores, −inf at padding; None if no row is padded.
        ends: where each slot's rows end among them, in a block that stands for several.
    """

    slot: int
    rows: slice
    tokens: slice
    length: int
    padding_B11T: torch.Tensor | None
    ends: tuple[int, ...] = ()

    @property
    def num_rows(self) -> int:
        """B."""
        return self.rows.stop - self.rows.start  # type: ignore[no-any-return]


class Groups(NamedTuple):
    """The blocks of a layout as grouped products take them, on the device of the forward.

    Attributes:
        ends_G: where each block's vectors end, int32.
        slots_G: their slots; None if those are all slots.
    """

    ends_G: torch.Tensor
    slots_G: torch.Tensor | None


class Layout:
    """The blocks of one forward, and the draws that its slots make in it."""

    def __init__(
        self,
        blocks: Sequence[Block],
        slots: int,
        device: str,
        padding_B11T: torch.Tensor | None,
        draws: "Draws | None" = None,
        memory: "Layout | None" = None,
    ) -> None:
        """Lay the blocks out.

        Args:
            blocks: by ascending slot.
            slots: P; slots without a block have no rows.
            device: where the tensors of this forward are.
            padding_B11T: what is added to attention scores, for all rows; None if all are as long as each other.
            draws: what its slots draw; None outside training.
            memory: in a decoder, the layout of what its encoder read.
        """
        self.blocks = tuple(blocks)
        self.memory = memory
        self.slots = slots
        self.draws = draws
        self.device = device
        self.num_tokens: int = blocks[-1].tokens.stop
        self.num_rows: int = blocks[-1].rows.stop
        self.longest = max(block.length for block in blocks)
        self._padding_B11T = padding_B11T
        self._groups: dict[int, Groups] = {}
        self._parts: dict[int, list[tuple[int, slice]]] = {}

    @cached_property
    def runs(self) -> "list[Block]":
        """Blocks side by side that are as long as each other as one, with its first one's slot.

        For what does the same to every slot and draws nothing.
        """
        found = []
        for length, alike in groupby(self.blocks, key=lambda block: block.length):
            blocks = [*alike]
            rows = slice(blocks[0].rows.start, blocks[-1].rows.stop)
            padded = any(block.padding_B11T is not None for block in blocks)
            run = Block(
                slot=blocks[0].slot,
                rows=rows,
                tokens=slice(blocks[0].tokens.start, blocks[-1].tokens.stop),
                length=length,
                padding_B11T=self._padding(rows, length) if padded else None,
            )
            found.append(run)
        return found

    def _padding(self, rows: slice, length: int) -> torch.Tensor | None:
        return None if self._padding_B11T is None else self._padding_B11T[rows, :, :, :length]

    def of(self, values: torch.Tensor) -> "Layout":
        """Return the layout that values have: this one, or that of the encoder's tokens, which come as N × 1 × D."""
        memory = self.memory
        if memory is not None and values.dim() > 2 and values.shape[:2] == (memory.num_tokens, 1):
            return memory
        return self

    def beside(self, mask_BS: torch.Tensor, dtype: torch.dtype) -> "Layout":
        """Return the layout of what a decoder writes to the same rows, where this is the layout of what they read."""
        rows = {block.slot: block.num_rows for block in self.blocks}
        return lay_out(mask_BS, rows, self.slots, dtype, self.draws, device=self.device, memory=self)

    def parts(self, count: int) -> list[tuple[int, slice]]:
        """Return each block's slot and its part of ``count`` vectors: of tokens, or of rows."""
        if count not in self._parts:
            scale = 1 if count == self.num_rows else self.longest
            rows = [slice(block.rows.start * scale, block.rows.stop * scale) for block in self.blocks]
            parts = [block.tokens for block in self.blocks] if count == self.num_tokens else rows
            self._parts[count] = [(block.slot, part) for block, part in zip(self.blocks, parts, strict=True)]
        return self._parts[count]

    def padded(self, count: int) -> bool:
        """Return whether ``count`` vectors are rows that are padded to the longest of all, not tokens or rows."""
        return count not in {self.num_tokens, self.num_rows}

    def require(self, count: int) -> None:
        """Raise ``CannotPackError`` if ``count`` vectors are neither this layout's tokens nor its rows."""
        if self.padded(count) and count != self.num_rows * self.longest:
            told = f"{count} vectors are neither its {self.num_tokens} tokens nor its {self.num_rows} rows"
            raise CannotPackError(f"a layer is given some of a batch: {told}")

    def groups(self, count: int) -> Groups:
        """Return ``parts`` for grouped products; made once for a forward."""
        if count not in self._groups:
            ends_G = torch.tensor([part.stop for _, part in self.parts(count)], dtype=torch.int32)
            self._groups[count] = Groups(to_device(ends_G, self.device), self.slots_G)
        return self._groups[count]

    @cached_property
    def slots_G(self) -> torch.Tensor | None:
        """The blocks' slots; None if those are all slots."""
        slots = [block.slot for block in self.blocks]
        return None if slots == [*range(self.slots)] else to_device(torch.tensor(slots), self.device)

    def own(self, stack: torch.Tensor) -> torch.Tensor:
        """Return what the blocks' slots have of a stack."""
        return stack if self.slots_G is None else stack.index_select(0, self.slots_G)

    def add_own(self, stack: torch.Tensor, values: torch.Tensor) -> None:
        """Add to what the blocks' slots have of a stack."""
        add_at(stack, self.slots_G, values)

    @cached_property
    def rows(self) -> Spread:
        """The way from all rows to as many for each block."""
        return Spread([block.num_rows for block in self.blocks], self.device)

    @cached_property
    def tokens(self) -> Spread:
        """The way from all tokens to as many for each row."""
        return Spread([block.length for block in self.blocks for _ in range(block.num_rows)], self.device)

    @cached_property
    def whole(self) -> Block:
        """One block in the place of all, each row as long as the longest: what ``tokens`` spreads them to."""
        count = self.num_rows
        return Block(
            slot=self.blocks[0].slot,
            rows=slice(0, count),
            tokens=slice(0, count * self.longest),
            length=self.longest,
            padding_B11T=self._padding(slice(0, count), self.longest),
            ends=tuple(block.rows.stop for block in self.blocks),
        )

    def flatten(self, values_BT: torch.Tensor) -> torch.Tensor:
        """Return ``values_1N`` of values by row and token that are padded to the longest row of all slots."""
        return self.tokens.gather(values_BT[:, : self.longest])[None, :, 0]

    @cached_property
    def firsts_B(self) -> torch.Tensor:
        """Where each row's first token stands among all."""
        found = [torch.arange(block.tokens.start, block.tokens.stop, block.length) for block in self.blocks]
        return to_device(torch.cat(found), self.device)

    def pad(self, hidden_1ND: torch.Tensor) -> torch.Tensor:
        """Return ``hidden_BTD`` by row and token, zero at padding, as code after the base expects it.

        Of values of the rows' first tokens alone, T is one.
        """
        if hidden_1ND.shape[1] == self.num_rows:
            return hidden_1ND.transpose(0, 1)
        return self.tokens.spread(hidden_1ND[0], fill=0.0)


def add_at(stack: torch.Tensor, slots_G: torch.Tensor | None, values: torch.Tensor) -> None:
    """Add values to what some slots have of a stack, whose format may be wider; None: to all."""
    if slots_G is None:
        stack += values
    else:
        stack.index_add_(0, slots_G, values.to(stack.dtype))


def lay_out(
    mask_BT: torch.Tensor,
    rows: Mapping[int, int],
    slots: int,
    dtype: torch.dtype,
    draws: "Draws | None" = None,
    *,
    device: str | None = None,
    memory: Layout | None = None,
) -> Layout:
    """Return the layout of a batch whose rows stand slot after slot.

    Args:
        mask_BT: 1 at tokens, 0 at padding, which stands on the right. Its lengths are needed on the host: given there,
            a device that is still computing is not waited for.
        rows: number of rows by slot, in the order of the batch; ascending.
        slots: P.
        dtype: of the attention scores.
        draws: what the slots draw, in training.
        device: where the forward runs; None: where the mask is.
        memory: see ``Layout``.
    """
    device = device or str(mask_BT.device)
    lengths = mask_BT.sum(1).tolist()
    padding_B11T = _padding(lengths, dtype, device) if min(lengths) < max(lengths) else None
    blocks: list[Block] = []
    row = token = 0
    for slot, count in rows.items():
        some, length = slice(row, row + count), int(max(lengths[row : row + count]))
        bias = None
        if padding_B11T is not None and min(lengths[some]) < length:
            bias = padding_B11T[some, :, :, :length]
        tokens = slice(token, token + count * length)
        blocks.append(Block(slot=slot, rows=some, tokens=tokens, length=length, padding_B11T=bias))
        row, token = some.stop, tokens.stop
    return Layout(blocks, slots, device, padding_B11T, draws, memory)


def _padding(lengths: Sequence[int], dtype: torch.dtype, device: str) -> torch.Tensor:
    """Return what is added to attention scores, −inf at padding."""
    lengths_B111 = to_device(torch.tensor(lengths)[:, None, None, None], device)
    absent_B11T = torch.arange(max(lengths), device=device) >= lengths_B111
    return torch.zeros(absent_B11T.shape, dtype=dtype, device=device).masked_fill_(absent_B11T, float("-inf"))


class _Current(threading.local):
    layout: Layout | None = None


_CURRENT = _Current()


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Make ``layout`` the one that packed modules see in this thread while inside."""
    before, _CURRENT.layout = _CURRENT.layout, layout
    try:
        yield
    finally:
        _CURRENT.layout = before


def go_on_with(layout: Layout) -> None:
    """Make ``layout`` the one that packed modules see for the rest of what ``laid_out`` encloses."""
    assert _CURRENT.layout is not None, "a packed module outside a forward"
    _CURRENT.layout = layout


def current() -> Layout:
    """Return the layout of the forward that is under way in this thread."""
    assert _CURRENT.layout is not None, "a packed module outside a forward"
    return _CURRENT.layout
