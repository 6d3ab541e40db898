"""The trainable parameters of all slots: one stacked tensor per kind of parameter, with the slots as first dimension.

The kinds are A, B, the weights trained in full of linear layers and of norms, their biases, and DoRA's magnitudes. The
layers of a kind stand side by side as columns. One operation therefore reaches all parameters of a slot, or of all
slots, and a layer sees its columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import nn

from orchestrator.training.process.hardware import to_device

RANK_STEP = 8
"""Stacked ranks are a multiple of this: narrower products are no faster, and grouped products need aligned rows."""

KINDS = ("A", "B", "weight", "norm", "bias", "magnitude")
RANKED = ("A", "B")
"""Kinds with one row per rank; the others have one row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterStack:
    """Parameters of one kind, their gradients and AdamW's moments, all float32.

    The shape is P × R × W for all slots, and r × W, contiguous, for the first r ranks of one slot.
    """

    values: torch.Tensor
    gradients: torch.Tensor
    means: torch.Tensor
    squares: torch.Tensor

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the four tensors by name."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(field.name for field in fields(ParameterStack))


class SlotScales(NamedTuple):
    """Factors of a slot's adapter products.

    Attributes:
        layers: scaling by name of the adapted layer.
        keep_scale: 1 / (1 − drop probability of the adapters' inputs).
    """

    layers: Mapping[str, float]
    keep_scale: float


class _LayerParameter(NamedTuple):
    """A layer's view of a stack, and the shape of one slot's parameter without the rank."""

    parameter: nn.Parameter
    shape: torch.Size


class SlotParameters:
    """The parameter stacks of all slots.

    Attributes:
        slots: P.
        rank: R, the ranks of every slot in the stacks.
        device: device of the stacks.
        stacks: by kind; W is 0 for a kind without layers.
    """

    def __init__(self, device: str) -> None:
        """Start without slots and layers."""
        self.slots = 0
        self.rank = RANK_STEP
        self.device = device
        self.stacks = {kind: _empty_stack(device) for kind in KINDS}
        self._layers: dict[str, dict[str, _LayerParameter]] = {kind: {} for kind in KINDS}
        self._columns: dict[str, dict[str, slice]] = {kind: {} for kind in KINDS}
        self._scales: dict[int, SlotScales] = {}
        self._scales_P1W: torch.Tensor | None = None
        self._prepared: dict[str, torch.Tensor] = {}
        self._outdated = set[str]()

    def add_layer(self, layer: str, kind: str, shape: torch.Size) -> nn.Parameter:
        """Return a layer's parameter: P × R × shape for a ranked kind, else P × shape; empty until ``allocate``."""
        parameter = nn.Parameter(torch.empty(0, device=self.device))
        self._layers[kind][layer] = _LayerParameter(parameter, shape)
        self._outdated.add(kind)
        return parameter

    def allocate(self) -> None:
        """Allocate columns for the layers added since the last call; existing values are copied once per kind."""
        while self._outdated:
            self._reallocate(self._outdated.pop())

    def resize(self, slots: int, rank: int) -> None:
        """Resize every stack to ``slots`` × ``rank``; values within both sizes stay."""
        if (slots, rank) != (self.slots, self.rank):
            self.slots, self.rank = slots, rank
            self._scales = {slot: scales for slot, scales in self._scales.items() if slot < slots}
            self._outdated.update(KINDS)
        self.allocate()

    def slot_stacks(self, slot: int, rank: int) -> dict[str, ParameterStack]:
        """Return views of a slot's first ``rank`` ranks, by kind; kinds without layers are left out."""
        views = {}
        for kind, stack in self.stacks.items():
            if stack.values.shape[2]:
                rows = rank if kind in RANKED else 1
                views[kind] = ParameterStack(**{name: held[slot, :rows] for name, held in stack.tensors().items()})
        return views

    def layer_view(
        self, stacked_PRW: torch.Tensor, slot: int, layer: str, kind: str, shape: torch.Size
    ) -> torch.Tensor:
        """Return a slot's part of a layer as a view of ``stacked_PRW``; B has its rank first.

        Args:
            stacked_PRW: one of the four tensors of the kind's stack.
            slot: index of the slot.
            layer: name of the layer.
            kind: one of ``KINDS``.
            shape: shape of the parameter in an adapter's file.
        """
        rows_RW = stacked_PRW[slot, :, self._columns[kind][layer]]
        if kind in RANKED:
            return rows_RW[: shape[0 if kind == "A" else 1]]
        return rows_RW[0].view(shape)

    def columns(self, kind: str, layer: str) -> slice:
        """Return the columns of a layer in the stack of a kind."""
        return self._columns[kind][layer]

    def set_scales(self, slot: int, scales: SlotScales) -> None:
        """Set the factors of a slot's adapter products."""
        self._scales[slot] = scales
        self._scales_P1W = None

    def scales_P1W(self) -> torch.Tensor:
        """Return the factor of each column of B in training; 0 where a slot does not adapt the layer."""
        if self._scales_P1W is None:
            scales_P1W = torch.zeros(self.slots, 1, self.stacks["B"].values.shape[2])
            for slot, (layers, keep_scale) in self._scales.items():
                for layer, scale in layers.items():
                    scales_P1W[slot, :, self._columns["B"][layer]] = scale * keep_scale
            self._scales_P1W = to_device(scales_P1W, self.device)
        return self._scales_P1W

    def prepare_matrices(self, slots_G: torch.Tensor | None, dtype: torch.dtype, *, training: bool) -> None:
        """Copy A and the scaled B of the slots with rows, for one forward on a device.

        One copy for all layers: a copy per layer takes longer to launch than to run.

        Args:
            slots_G: slots with rows; None means all.
            dtype: number format of the activations.
            training: whether B includes the factor of dropout.
        """
        self._prepared = {}  # frees the old copies before the new ones are made
        scales_P1W = self.scales_P1W()
        if not training:
            keep_scales = [self._scales[slot].keep_scale if slot in self._scales else 1.0 for slot in range(self.slots)]
            scales_P1W = scales_P1W / to_device(torch.tensor(keep_scales)[:, None, None], self.device)
        a_GRW, b_GRW = self.stacks["A"].values, self.stacks["B"].values
        if slots_G is not None:
            a_GRW, b_GRW, scales_P1W = (held.index_select(0, slots_G) for held in (a_GRW, b_GRW, scales_P1W))
        self._prepared = {"A": a_GRW.to(dtype), "B": (b_GRW * scales_P1W).to(dtype)}

    def prepared_matrices(self, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``a_GRI`` and the scaled ``b_GRO`` of a layer, from ``prepare_matrices``."""
        a_GRI, b_GRO = (self._prepared[kind][:, :, self._columns[kind][layer]] for kind in RANKED)
        return a_GRI, b_GRO

    def clear(self, slot: int) -> None:
        """Set a slot's parameters, gradients and moments to zero."""
        self._scales.pop(slot, None)
        self._scales_P1W = None
        for stack in self.stacks.values():
            for held_PRW in stack.tensors().values():
                held_PRW[slot].zero_()

    def _reallocate(self, kind: str) -> None:
        """Allocate the stack of a kind at its new size, copy the old values, and point the layers to their columns."""
        self._scales_P1W, self._prepared = None, {}
        layers = self._layers[kind]
        stops = [*accumulate((layer.shape.numel() for layer in layers.values()), initial=0)]
        columns = dict(zip(layers, (slice(*ends) for ends in pairwise(stops)), strict=True))
        shape = (self.slots, self.rank if kind in RANKED else 1, stops[-1])
        for parameter, _ in layers.values():
            parameter.grad, parameter.data = None, torch.empty(0, device=self.device)
        old, new = self.stacks[kind].tensors(), {}
        self.stacks[kind] = _empty_stack(self.device)
        for name in _NAMES:  # one at a time: the old tensor is freed before the next is allocated
            old_PRW, new_PRW = old.pop(name), torch.zeros(shape, device=self.device)
            common = tuple(map(slice, map(min, old_PRW.shape, shape)))
            new_PRW[common] = old_PRW[common]
            new[name] = new_PRW
            del old_PRW
        self._columns[kind], stack = columns, ParameterStack(**new)
        self.stacks[kind] = stack
        for layer, (parameter, slot_shape) in layers.items():
            views = [stacked[:, :, columns[layer]] for stacked in (stack.values, stack.gradients)]
            if kind not in RANKED:
                views = [rows_P1W[:, 0].view(self.slots, *slot_shape) for rows_P1W in views]
            parameter.data, parameter.grad = views


def _empty_stack(device: str) -> ParameterStack:
    return ParameterStack(**{name: torch.zeros(0, 1, 0, device=device) for name in _NAMES})
