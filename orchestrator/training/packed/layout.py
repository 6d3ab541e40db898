"""Where each slot's rows stand in one forward: block after block, each padded to its own longest row alone.

Linear layers see all tokens as one matrix; attention sees a slot's block. So padding is what a trial would have by
itself, whatever lengths and batch sizes its neighbours have.

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

from orchestrator.training.hardware import sent
from orchestrator.training.packed.errors import CannotPackError

if TYPE_CHECKING:
    from orchestrator.training.packed.randomness import SlotRandom


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One slot's rows.

    Attributes:
        slot: the slot's index.
        rows: its rows in the batch of all slots, as a slice.
        tokens: its tokens among those of all slots, as a slice; ``B * T`` of them.
        length: T, tokens of its longest row.
        padding_B11T: what is added to attention scores, −inf at padding; None if no row is padded.
    """

    slot: int
    rows: slice
    tokens: slice
    length: int
    padding_B11T: torch.Tensor | None  # noqa: N815  (a shape)

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

    ends_G: torch.Tensor  # noqa: N815  (a shape)
    slots_G: torch.Tensor | None  # noqa: N815  (a shape)


class Layout:
    """The blocks of one forward, and the draws that its slots make in it."""

    def __init__(
        self,
        blocks: Sequence[Block],
        slots: int,
        random: "Mapping[int, SlotRandom]",
        device: str,
        memory: "Layout | None" = None,
    ) -> None:
        """Lay the blocks out.

        Args:
            blocks: by ascending slot.
            slots: P; slots without a block have no rows.
            random: the slots' generators; empty outside training.
            device: where the tensors of this forward are.
            memory: in a decoder, the layout of what its encoder read.
        """
        self.blocks = tuple(blocks)
        self.memory = memory
        self.slots = slots
        self.random = random
        self.device = device
        self.num_tokens: int = blocks[-1].tokens.stop
        self.num_rows: int = blocks[-1].rows.stop
        self.longest = max(block.length for block in blocks)
        self._groups: dict[int, Groups] = {}
        self._constants: dict[tuple[float, ...], torch.Tensor] = {}

    @cached_property
    def runs(self) -> "list[Block]":
        """Blocks side by side that are as long as each other as one, with its first one's slot.

        For what does the same to every slot and draws nothing.
        """
        return [_as_one([*alike]) for _, alike in groupby(self.blocks, key=lambda block: block.length)]

    def of(self, values: torch.Tensor) -> "Layout":
        """Return the layout that values have: this one, or that of the encoder's tokens, which come as N × 1 × D."""
        memory = self.memory
        if memory is not None and values.dim() > 2 and values.shape[:2] == (memory.num_tokens, 1):
            return memory
        return self

    def beside(self, mask_BS: torch.Tensor, dtype: torch.dtype) -> "Layout":
        """Return the layout of what a decoder writes to the same rows, where this is the layout of what they read."""
        rows = {block.slot: block.num_rows for block in self.blocks}
        return lay_out(mask_BS, rows, self.slots, dtype, self.random, memory=self)

    def parts(self, count: int) -> list[tuple[int, slice]]:
        """Return each block's slot and its part of ``count`` vectors: of tokens, or of rows."""
        if count == self.num_tokens:
            return [(block.slot, block.tokens) for block in self.blocks]
        scale = 1 if count == self.num_rows else self.longest
        return [(block.slot, slice(block.rows.start * scale, block.rows.stop * scale)) for block in self.blocks]

    def require(self, count: int) -> None:
        """Raise ``CannotPackError`` if ``count`` vectors are neither this layout's tokens nor its rows."""
        if count not in {self.num_tokens, self.num_rows, self.num_rows * self.longest}:
            told = f"{count} vectors are neither its {self.num_tokens} tokens nor its {self.num_rows} rows"
            raise CannotPackError(f"an adapted layer is given some of a batch: {told}")

    def groups(self, count: int) -> Groups:
        """Return ``parts`` for grouped products; made once for a forward."""
        if count not in self._groups:
            ends_G = torch.tensor([part.stop for _, part in self.parts(count)], dtype=torch.int32)
            self._groups[count] = Groups(sent(ends_G, self.device), self._slots_G)
        return self._groups[count]

    @cached_property
    def _slots_G(self) -> torch.Tensor | None:  # noqa: N802  (a shape)
        slots = [block.slot for block in self.blocks]
        return None if slots == [*range(self.slots)] else sent(torch.tensor(slots), self.device)

    def constant(self, values: tuple[float, ...]) -> torch.Tensor:
        """Return numbers as a float32 tensor on the device; made once for a forward, which all layers share."""
        if values not in self._constants:
            self._constants[values] = sent(torch.tensor(values), self.device)
        return self._constants[values]

    def flatten(self, values_BT: torch.Tensor) -> torch.Tensor:
        """Return ``values_1N`` of values by row and token that are padded to the longest row of all slots."""
        return torch.cat([values_BT[block.rows, : block.length].reshape(-1) for block in self.blocks])[None]

    @cached_property
    def firsts_B(self) -> torch.Tensor:  # noqa: N802  (a shape)
        """Where each row's first token stands among all."""
        found = [torch.arange(block.tokens.start, block.tokens.stop, block.length) for block in self.blocks]
        return sent(torch.cat(found), self.device)

    def pad(self, hidden_1ND: torch.Tensor) -> torch.Tensor:
        """Return ``hidden_BTD`` by row and token, zero at padding, as code after the base expects it.

        Of values of the rows' first tokens alone, T is one.
        """
        if hidden_1ND.shape[1] == self.num_rows:
            return hidden_1ND.transpose(0, 1)
        parts = [
            torch.nn.functional.pad(
                hidden_1ND[0, block.tokens].view(block.num_rows, block.length, -1),
                (0, 0, 0, self.longest - block.length),
            )
            for block in self.blocks
        ]
        return torch.cat(parts)


def _as_one(blocks: Sequence[Block]) -> Block:
    """Return one block in the place of several that are as long as each other."""
    first, last = blocks[0], blocks[-1]
    biases_B11T = [block.padding_B11T for block in blocks]
    bias_B11T = next((found for found in biases_B11T if found is not None), None)
    if bias_B11T is not None and len(blocks) > 1:
        none_111T = torch.zeros_like(bias_B11T[:1])
        parts = [
            none_111T.expand(block.num_rows, -1, -1, -1) if found is None else found
            for block, found in zip(blocks, biases_B11T, strict=True)
        ]
        bias_B11T = torch.cat(parts)
    return Block(
        slot=first.slot,
        rows=slice(first.rows.start, last.rows.stop),
        tokens=slice(first.tokens.start, last.tokens.stop),
        length=first.length,
        padding_B11T=bias_B11T,
    )


def lay_out(
    mask_BT: torch.Tensor,
    rows: Mapping[int, int],
    slots: int,
    dtype: torch.dtype,
    random: "Mapping[int, SlotRandom] | None" = None,
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
        random: the slots' generators, in training.
        device: where the forward runs; None: where the mask is.
        memory: see ``Layout``.
    """
    device = device or str(mask_BT.device)
    lengths = mask_BT.sum(1).tolist()
    blocks: list[Block] = []
    row = token = 0
    for slot, count in rows.items():
        length = int(max(lengths[row : row + count]))
        bias = None
        if min(lengths[row : row + count]) < length:
            absent = mask_BT[row : row + count, None, None, :length] == 0
            bias = torch.zeros(absent.shape, dtype=dtype, device=mask_BT.device).masked_fill_(absent, float("-inf"))
            bias = sent(bias, device)
        tokens = slice(token, token + count * length)
        blocks.append(Block(slot=slot, rows=slice(row, row + count), tokens=tokens, length=length, padding_B11T=bias))
        row, token = row + count, tokens.stop
    return Layout(blocks, slots, random or {}, device, memory)


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
