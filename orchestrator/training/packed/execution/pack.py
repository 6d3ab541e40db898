"""The frozen base with its stacks: slots are seated, trained together and leave, without a word of data or time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from orchestrator.core.data import Source
from orchestrator.core.quantisation import Quantisation
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Objective
from orchestrator.training.model.base_model import load_base
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.layers.attention import NAME
from orchestrator.training.packed.layers.first_tokens import compute_first_tokens_alone
from orchestrator.training.packed.layers.flattening import install
from orchestrator.training.packed.layers.frozen import FrozenWeight
from orchestrator.training.packed.layers.full import PackedNorm
from orchestrator.training.packed.layers.lora import PackedLinear, PackedLoRA
from orchestrator.training.packed.layout.blocks import Block, Layout, current, use_context
from orchestrator.training.packed.masks.host import PackedDropout, module_number
from orchestrator.training.packed.slots.adapter import Adapter, place
from orchestrator.training.packed.slots.parameters import RANK_STEP, RANKED, SlotParameters, SlotScales

ALIGNMENT = 8
"""GroupedProducts products need rows of whole 16 bytes, in bfloat16 too."""


@dataclass(frozen=True, slots=True)
class Logits:
    """What a forward found: by row, or of a head that writes by token, in flat order.

    Attributes:
        whole: of all slots.
        blocks: where each one's are.
    """

    whole: torch.Tensor
    blocks: Sequence[Block]

    @property
    def by_token(self) -> bool:
        """Whether the head writes."""
        return self.whole.dim() > 2 and self.whole.shape[:2] == (1, self.blocks[-1].tokens.stop)

    def of_blocks(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Return each block's part of values that are shaped as the logits; by row and token, if the head writes."""
        if not self.by_token:
            return [values[block.rows] for block in self.blocks]
        return [values[0, block.tokens].view(block.num_rows, block.length, -1) for block in self.blocks]

    def parts(self) -> list[torch.Tensor]:
        """Return each block's logits, cut off from what they were computed from."""
        return self.of_blocks(self.whole.detach())


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
        self.stacks = SlotParameters(device)
        self._free: list[int] = []
        self._lora: dict[str, PackedLoRA] = {}
        self._full: dict[str, PackedLinear | PackedNorm] = {}
        for parent in list(number_modules(self.model).modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Dropout:
                    parent.register_module(name, PackedDropout(child.p, module_number(child)))
        install(self.model)
        compute_first_tokens_alone(self.model.eval())

    def admit(self, adapter: Adapter) -> None:
        """Make every module that the adapter trains one that holds something for each slot.

        Raises:
            CannotPackError: one of them is no linear layer, or too narrow.
        """
        try:
            for key in adapter.tensors:
                self._open(*place(key))
        finally:
            self.stacks.settle()

    @property
    def slots(self) -> int:
        """P, free ones included."""
        return self.stacks.slots

    def seat(self, adapter: Adapter, dropout: float = 0.0) -> int:
        """Give an adapter, with a share of its inputs dropped, a slot; return its index.

        Raises:
            CannotPackError: as in ``admit``.
        """
        self.admit(adapter)
        slot = self._free.pop(0) if self._free else self.slots
        rank = max(self.stacks.rank, -(-adapter.rank // RANK_STEP) * RANK_STEP)
        self.stacks.resize(max(self.slots, slot + 1), rank)
        for name, layer in adapter.layers().items():
            self._lora[name].adapted[slot] = layer
        self.stacks.scale(slot, SlotScales(adapter.scales, kept=1.0 / (1.0 - quantise_drop_prob(dropout))))
        self.load(slot, adapter.tensors)
        own = adapter.own_rank
        for key, value in adapter.taken_out.items():  # behind the adapter's own ranks, and never trained
            name, part = place(key)
            beside = _as_stored(key, value if part == "A" else -value)
            rows = slice(own, own + beside.shape[0])
            self.stacks.parts[part].values[slot, rows, self.stacks.columns(part, name)] = beside
        return slot

    def leave(self, slot: int) -> None:
        """Free a slot: its adapter is zero, and it has no gradient."""
        for layer in self._lora.values():
            layer.adapted.pop(slot, None)
        self.stacks.clear(slot)
        self._free = sorted([*self._free, slot])

    def empty(self) -> None:
        """Free the memory of all stacks; nobody has a slot."""
        self._free = []
        for lora in self._lora.values():
            lora.adapted.clear()
        self.stacks.resize(0, RANK_STEP)

    def load(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy an adapter's tensors into a slot."""
        for key, value in tensors.items():
            self.view(slot, key, value.shape).copy_(_as_stored(key, value))

    def tensors(self, slot: int, adapter: Adapter) -> dict[str, torch.Tensor]:
        """Return a slot's adapter with the names and shapes of its file; copies."""
        return {
            key: _as_stored(key, self.view(slot, key, value.shape)).clone() for key, value in adapter.tensors.items()
        }

    def view(self, slot: int, key: str, shape: torch.Size, of: str = "values") -> torch.Tensor:
        """Return a view of the piece of a stack that holds a slot's tensor ``key``; B with its rank first.

        ``of`` names one of a stack's tensors.
        """
        name, part = place(key)
        return self.stacks.piece(getattr(self.stacks.parts[part], of), slot, name, part, shape)

    def make_ready(self, *, training: bool) -> None:
        """Put the model into a mode, before threads run it."""
        self.model.train(training)

    def logits(self, batch: Mapping[str, torch.Tensor], layout: Layout) -> Logits:
        """Return the logits of a batch of all slots' rows, padded to the longest of all."""
        if self.device != "cpu":
            self.stacks.prepare(layout.slots_G, self.dtype, training=self.model.training)
        with use_context(layout):
            found = forward(self.model, batch)
            return Logits(found, current().blocks)  # a decoder's own

    def _open(self, name: str, part: str) -> None:
        """Make a module one that holds something for each slot, if it is not one yet."""
        if name in self._lora or name in self._full:
            return
        try:
            module = self.model.get_submodule(name)
        except AttributeError:  # peft adapts parameters of mixtures of experts through wrappers of its own
            raise CannotPackError(f"{name} is a parameter of experts, and a pack trains linear layers alone") from None
        if part in RANKED and isinstance(module, nn.Linear | Conv1D):
            frozen = FrozenWeight.of(module)
            if any(width % ALIGNMENT for width in frozen.shape):
                told = " × ".join(map(str, frozen.shape))
                raise CannotPackError(f"{name} is {told}, no multiples of {ALIGNMENT}")
            self._lora[name] = PackedLoRA(module, frozen, name, self.stacks)
            self._replace(name, self._lora[name])
        elif part in {"weight", "bias"} and isinstance(module, nn.Linear):
            self._full[name] = PackedLinear(module, name, self.stacks)
            self._replace(name, self._full[name])
        elif part in {"weight", "bias"} and isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
            self._full[name] = PackedNorm(module, name, self.stacks)
            self._replace(name, self._full[name])
        else:
            raise CannotPackError(f"{name} is a {type(module).__name__}, and a pack trains linear layers alone")

    def _replace(self, name: str, module: nn.Module) -> None:
        parent, _, child = name.rpartition(".")
        self.model.get_submodule(parent).register_module(child, module.train(self.model.training))


def _as_stored(key: str, value: torch.Tensor) -> torch.Tensor:
    return value.t() if place(key)[1] == "B" else value
