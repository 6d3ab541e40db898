"""The frozen base with its stacks: slots are seated, trained together and leave, without a word of data or time."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from orchestrator.core.data import Source
from orchestrator.core.quantisation import Quantisation
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Objective
from orchestrator.training.base_model import load_base
from orchestrator.training.packed.adapter import Adapter, place
from orchestrator.training.packed.attention import NAME
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.first_tokens import compute_first_tokens_alone
from orchestrator.training.packed.flattening import install
from orchestrator.training.packed.layout import Layout, current, laid_out
from orchestrator.training.packed.linear import PackedLinear, PackedLoRA, gradient_of
from orchestrator.training.packed.randomness import PackedDropout

RANK_STEP = 8
"""Stacks are as wide as a multiple of this: narrower products are no faster, and grouped ones need aligned rows."""


ALIGNMENT = 8
"""Grouped products need rows of whole 16 bytes, in bfloat16 too."""


class Pieces(NamedTuple):
    """A slot's own pieces of all stacks, as ``Pack.view`` returns them, and of their gradients."""

    parameters: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]


class Pack:
    """One frozen base and its slots."""

    def __init__(
        self,
        source: Source,
        objective: Objective,
        device: str,
        dtype: torch.dtype,
        quantisation: Quantisation | None = None,
    ) -> None:
        """Load the base.

        Args:
            source: the base model.
            objective: says which head it has.
            device: ``cpu`` or ``cuda``.
            dtype: of the frozen weights and of what flows between layers; adapters and heads are float32.
            quantisation: how the frozen linear layers are held instead; their products are computed in ``dtype``.
        """
        base = load_base(source, objective, device, dtype=dtype, attention=NAME, quantisation=quantisation)
        self.model = base.model.requires_grad_(False)
        self.device = device
        self.dtype = dtype
        self.slots = 0
        self._pieces: dict[int, Pieces] = {}
        self._rank = RANK_STEP
        self._free: list[int] = []
        self._lora: dict[str, PackedLoRA] = {}
        self._full: dict[str, PackedLinear] = {}
        for parent in list(self.model.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Dropout:
                    parent.register_module(name, PackedDropout(child.p))
        install(self.model)
        compute_first_tokens_alone(self.model.eval())

    def admit(self, adapter: Adapter) -> None:
        """Make every module that the adapter trains one that holds something for each slot.

        Raises:
            CannotPackError: one of them is no linear layer, or too narrow.
        """
        for key in adapter.tensors:
            self._open(*place(key))

    def seat(self, adapter: Adapter) -> int:
        """Give an adapter a slot and return its index; see ``admit`` for what it raises."""
        self.admit(adapter)
        slot = self._free.pop(0) if self._free else self.slots
        rank = max(self._rank, -(-adapter.rank // RANK_STEP) * RANK_STEP)
        self._resize(max(self.slots, slot + 1), rank)
        for name, layer in adapter.layers().items():
            self._lora[name].adapted[slot] = layer
        self.load(slot, adapter.tensors)
        for key, value in adapter.taken_out.items():  # behind the adapter's own ranks, and never trained
            beside = _as_stored(key, value if place(key)[1] == "A" else -value)
            own = _as_stored(key, adapter.tensors[key]).shape[0]
            self.parameter(key).data[slot, own : own + beside.shape[0]] = beside
        return slot

    def leave(self, slot: int) -> None:
        """Free a slot: its adapter is zero, and it has no gradient."""
        for layer in self._lora.values():
            layer.adapted.pop(slot, None)
        for parameter in self._parameters():
            parameter.data[slot].zero_()
            if parameter.grad is not None:
                parameter.grad[slot].zero_()
        self._pieces.pop(slot, None)
        self._free = sorted([*self._free, slot])

    def empty(self) -> None:
        """Free the memory of all stacks; nobody has a slot."""
        self._free = []
        for lora in self._lora.values():
            lora.adapted.clear()
        self._resize(0, RANK_STEP)

    def load(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy an adapter's tensors into a slot."""
        for key, value in tensors.items():
            self.view(slot, key, value.shape).copy_(_as_stored(key, value))

    def tensors(self, slot: int, adapter: Adapter) -> dict[str, torch.Tensor]:
        """Return a slot's adapter with the names and shapes of its file; copies."""
        return {
            key: _as_stored(key, self.view(slot, key, value.shape)).clone() for key, value in adapter.tensors.items()
        }

    def view(self, slot: int, key: str, shape: torch.Size) -> torch.Tensor:
        """Return the contiguous piece of a stack that holds a slot's tensor ``key``; B with its rank first."""
        return _piece(self.parameter(key).data, slot, key, shape)

    def pieces(self, slot: int, adapter: Adapter) -> Pieces:
        """Return a slot's pieces of the stacks, by the names in its adapter's file; found once for all updates."""
        if slot not in self._pieces:
            parameters, gradients = {}, {}
            for key, value in adapter.tensors.items():
                parameters[key] = self.view(slot, key, value.shape)
                gradients[key] = _piece(gradient_of(self.parameter(key)), slot, key, value.shape)
            self._pieces[slot] = Pieces(parameters, gradients)
        return self._pieces[slot]

    def parameter(self, key: str) -> nn.Parameter:
        """Return the stack that holds ``key`` for all slots."""
        name, part = place(key)
        if part in {"A", "B"}:
            return self._lora[name].a_PRI if part == "A" else self._lora[name].b_PRO
        found = self._full[name].weight_POI if part == "weight" else self._full[name].bias_PO
        assert found is not None
        return found

    def make_ready(self, *, training: bool) -> None:
        """Put the model into a mode, and give every stack its gradient, before threads run the model."""
        self.model.train(training)
        if training:
            for parameter in self._parameters():
                gradient_of(parameter)

    def logits(self, batch: Mapping[str, torch.Tensor], layout: Layout) -> list[torch.Tensor]:
        """Return the logits of each block for a batch of all slots' rows, padded to the longest of all.

        Those of a head that writes are by row and token, as many as the block's longest row has.
        """
        with laid_out(layout):
            found = forward(self.model, batch)
            blocks = current().blocks  # a decoder's own
        if found.dim() < 3 or found.shape[:2] != (1, blocks[-1].tokens.stop):
            return [*torch.split(found, [block.num_rows for block in blocks])]
        return [found[0, block.tokens].view(block.num_rows, block.length, -1) for block in blocks]

    def _parameters(self) -> Iterator[nn.Parameter]:
        yield from (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def _open(self, name: str, part: str) -> None:
        """Make a module one that holds something for each slot, if it is not one yet."""
        if name in self._lora or name in self._full:
            return
        module = self.model.get_submodule(name)
        if part in {"A", "B"} and isinstance(module, nn.Linear | Conv1D):
            lora = PackedLoRA(module, self.slots, self._rank)
            widths = (lora.frozen.outputs, lora.frozen.inputs)
            if any(width % ALIGNMENT for width in widths):
                raise CannotPackError(f"{name} is {' × '.join(map(str, widths))}, no multiples of {ALIGNMENT}")
            self._lora[name] = lora
            self._replace(name, lora)
        elif part in {"weight", "bias"} and isinstance(module, nn.Linear):
            self._full[name] = PackedLinear(module, self.slots)
            self._replace(name, self._full[name])
        else:
            raise CannotPackError(f"{name} is a {type(module).__name__}, and a pack trains linear layers alone")

    def _replace(self, name: str, module: nn.Module) -> None:
        parent, _, child = name.rpartition(".")
        self.model.get_submodule(parent).register_module(child, module.train(self.model.training))

    def _resize(self, slots: int, rank: int) -> None:
        """Give every stack another size; what fits stays."""
        if (slots, rank) == (self.slots, self._rank) and all(p.shape[0] == slots for p in self._parameters()):
            return
        self.slots, self._rank = slots, rank
        self._pieces.clear()
        for lora in self._lora.values():
            for parameter in (lora.a_PRI, lora.b_PRO):
                _set_shape(parameter, (slots, rank, parameter.shape[2]))
        for full in self._full.values():
            for stack in (full.weight_POI, full.bias_PO):
                if stack is not None:
                    _set_shape(stack, (slots, *stack.shape[1:]))


def _piece(stack: torch.Tensor, slot: int, key: str, shape: torch.Size) -> torch.Tensor:
    part = place(key)[1]
    if part == "A":
        return stack[slot, : shape[0]]
    return stack[slot, : shape[1]] if part == "B" else stack[slot]


def _as_stored(key: str, value: torch.Tensor) -> torch.Tensor:
    return value.t() if place(key)[1] == "B" else value


def _resized(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    found, fitting = values.new_zeros(shape), tuple(map(slice, map(min, values.shape, shape)))
    found[fitting] = values[fitting]
    return found


def _set_shape(parameter: nn.Parameter, shape: tuple[int, ...]) -> None:
    gradient, parameter.grad = parameter.grad, None
    parameter.data = _resized(parameter.data, shape)
    parameter.grad = None if gradient is None else _resized(gradient, shape)
