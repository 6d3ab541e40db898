"""What the slots of a pack train, each part of all adapters in one tensor: a slot is a row of it.

A part is what adapters have of one kind: A, B, the weights that are trained in full, their biases. Its layers stand
side by side, so what is done to all parameters of a slot, or of all slots, is done at once; a layer sees its columns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import nn

from orchestrator.training.process.hardware import to_device

RANK_STEP = 8
"""SlotParameters are as wide as a multiple of this: narrower products are no faster, and grouped ones need aligned rows."""

PARTS = ("A", "B", "weight", "bias")
RANKED = ("A", "B")
"""Parts with a row for each rank; the others have one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterStack:
    """A part of all slots, or of one: values, gradients and AdamW's moments.

    Of all slots each is P × R × W, float32; of one slot r × W, contiguous.
    """

    values: torch.Tensor
    gradients: torch.Tensor
    means: torch.Tensor
    squares: torch.Tensor

    def each(self) -> Iterator[torch.Tensor]:
        """Yield the four tensors."""
        return (getattr(self, name) for name in _NAMES)


_NAMES = tuple(field.name for field in fields(ParameterStack))


def _nothing(device: str) -> ParameterStack:
    return ParameterStack(**{name: torch.zeros(0, 1, 0, device=device) for name in _NAMES})


class SlotScales(NamedTuple):
    """What a slot's products are multiplied with: by layer, and because of what its dropout keeps."""

    layers: Mapping[str, float]
    kept: float


class LayerView(NamedTuple):
    """What a layer sees of a part: its own parameter, and a slot's shape of it, the rank left out."""

    parameter: nn.Parameter
    shape: torch.Size


class SlotParameters:
    """The parts of all slots."""

    def __init__(self, device: str) -> None:
        """Begin with no slot and no layer."""
        self.slots = 0
        self.rank = RANK_STEP
        self.device = device
        self._layers: dict[str, dict[str, LayerView]] = {part: {} for part in PARTS}
        self._columns: dict[str, dict[str, slice]] = {part: {} for part in PARTS}
        self.parts = {part: _nothing(device) for part in PARTS}
        self._scales: dict[int, SlotScales] = {}
        self._scales_P1W: torch.Tensor | None = None
        self._prepared: dict[str, torch.Tensor] = {}
        self._unsettled = set[str]()

    def open(self, layer: str, part: str, shape: torch.Size) -> nn.Parameter:
        """Return a layer's parameter, columns of a part: P × R × shape where a part has ranks, else P × shape.

        It is empty until ``settle``.
        """
        parameter = nn.Parameter(torch.empty(0, device=self.device))
        self._layers[part][layer] = LayerView(parameter, shape)
        self._unsettled.add(part)
        return parameter

    def settle(self) -> None:
        """Have the layers that were opened see their columns: all at once, because what is there is copied."""
        while self._unsettled:
            self._arrange(self._unsettled.pop())

    def resize(self, slots: int, rank: int) -> None:
        """Give every part another size; what fits stays."""
        if (slots, rank) != (self.slots, self.rank):
            self.slots, self.rank = slots, rank
            self._scales = {slot: scales for slot, scales in self._scales.items() if slot < slots}
            self._unsettled.update(PARTS)
        self.settle()

    def of(self, slot: int, rank: int) -> dict[str, ParameterStack]:
        """Return a slot's parts, those that the adapters have; of its ranks the first ``rank``."""
        found = {}
        for part, stack in self.parts.items():
            if stack.values.shape[2]:
                rows = rank if part in RANKED else 1
                found[part] = ParameterStack(**{name: getattr(stack, name)[slot, :rows] for name in _NAMES})
        return found

    def piece(self, stacked: torch.Tensor, slot: int, layer: str, part: str, shape: torch.Size) -> torch.Tensor:
        """Return a slot's tensor of a layer as a view of one of a part's four; of B the rank comes first."""
        rows_RW = stacked[slot, :, self._columns[part][layer]]
        if part in RANKED:
            return rows_RW[: shape[0 if part == "A" else 1]]
        return rows_RW[0].view(shape)

    def columns(self, part: str, layer: str) -> slice:
        """Return where a layer stands in a part."""
        return self._columns[part][layer]

    def scale(self, slot: int, scales: SlotScales) -> None:
        """Say what a slot's products are multiplied with."""
        self._scales[slot] = scales
        self._scales_P1W = None

    def scales_P1W(self) -> torch.Tensor:
        """Return what each column of B is multiplied with in training; zero where a slot does not adapt a layer."""
        if self._scales_P1W is None:
            scales_P1W = torch.zeros(self.slots, 1, self.parts["B"].values.shape[2])
            for slot, (layers, kept) in self._scales.items():
                for layer, scale in layers.items():
                    scales_P1W[slot, :, self._columns["B"][layer]] = scale * kept
            self._scales_P1W = to_device(scales_P1W, self.device)
        return self._scales_P1W

    def prepare(self, slots_G: torch.Tensor | None, dtype: torch.dtype, *, training: bool) -> None:
        """Copy the slots' matrices for one forward: in the format of what flows between layers, B scaled.

        For a device, where one product serves all slots and a copy for each layer would take longer to launch.
        """
        self._prepared = {}  # not both of them at a time
        scales_P1W = self.scales_P1W()
        if not training:
            kept = [self._scales[slot].kept if slot in self._scales else 1.0 for slot in range(self.slots)]
            scales_P1W = scales_P1W / to_device(torch.tensor(kept)[:, None, None], self.device)
        a_GRW, b_GRW = self.parts["A"].values, self.parts["B"].values
        if slots_G is not None:
            a_GRW, b_GRW, scales_P1W = (held.index_select(0, slots_G) for held in (a_GRW, b_GRW, scales_P1W))
        self._prepared = {"A": a_GRW.to(dtype), "B": (b_GRW * scales_P1W).to(dtype)}

    def prepared(self, part: str, layer: str) -> torch.Tensor:
        """Return a layer's columns of what was prepared."""
        return self._prepared[part][:, :, self._columns[part][layer]]

    def clear(self, slot: int) -> None:
        """Make all that a slot has zero."""
        self._scales.pop(slot, None)
        self._scales_P1W = None
        for stack in self.parts.values():
            for held_PRW in stack.each():
                held_PRW[slot].zero_()

    def _arrange(self, part: str) -> None:
        """Make a part as large as it is to be, keep what it held, and have its layers see their columns."""
        self._scales_P1W, self._prepared = None, {}
        layers = self._layers[part]
        stops = [*accumulate((each.shape.numel() for each in layers.values()), initial=0)]
        columns = dict(zip(layers, (slice(*ends) for ends in pairwise(stops)), strict=True))
        shape = (self.slots, self.rank if part in RANKED else 1, stops[-1])
        for parameter, _ in layers.values():
            parameter.grad, parameter.data = None, torch.empty(0, device=self.device)
        before, found = dict(zip(_NAMES, self.parts[part].each(), strict=True)), {}
        self.parts[part] = _nothing(self.device)
        for name in _NAMES:  # one after another, and what it takes the place of goes
            old_PRW, new_PRW = before.pop(name), torch.zeros(shape, device=self.device)
            fitting = tuple(map(slice, map(min, old_PRW.shape, shape)))
            new_PRW[fitting] = old_PRW[fitting]
            found[name] = new_PRW
            del old_PRW
        self._columns[part], stack = columns, ParameterStack(**found)
        self.parts[part] = stack
        for layer, (parameter, own) in layers.items():
            seen = [stacked[:, :, columns[layer]] for stacked in (stack.values, stack.gradients)]
            if part not in RANKED:
                seen = [rows_P1W[:, 0].view(self.slots, *own) for rows_P1W in seen]
            parameter.data, parameter.grad = seen
