"""A frozen base model with the parameters of all slots: adapters enter, train together and leave.

A pack knows nothing of data, optimizer steps or reports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from orchestrator.core.data import Source
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Objective
from orchestrator.training.model.base_model import load_base
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.layers.attention import NAME
from orchestrator.training.packed.layers.context import forward_context, number_modules
from orchestrator.training.packed.layers.dropout import PackedDropout
from orchestrator.training.packed.layers.first_tokens import skip_unread_tokens
from orchestrator.training.packed.layers.flattening import install_hooks
from orchestrator.training.packed.layers.frozen import FrozenWeight
from orchestrator.training.packed.layers.full import PackedLinear, PackedNorm
from orchestrator.training.packed.layers.lora import PackedLoRA
from orchestrator.training.packed.layout.blocks import Block, Layout
from orchestrator.training.packed.masks.dropout_masks import DropoutMasks
from orchestrator.training.packed.masks.streams import quantise_drop_prob
from orchestrator.training.packed.slots.adapter import Adapter, parse_key
from orchestrator.training.packed.slots.parameters import RANK_STEP, RANKED, SlotParameters, SlotScales

ALIGNMENT = 8
"""Inputs and outputs of an adapted layer are multiples of this: grouped products need rows of whole 16 bytes."""


@dataclass(frozen=True, slots=True)
class Logits:
    """The logits of all slots, by row, or by token of a language-model head.

    Attributes:
        all_slots: rows or flat tokens of all slots.
        blocks: blocks in the layout of the head's input: the decoder's, if there is one.
    """

    all_slots: torch.Tensor
    blocks: Sequence[Block]

    @property
    def by_token(self) -> bool:
        """Whether the logits are flat tokens."""
        return self.all_slots.dim() > 2 and self.all_slots.shape[:2] == (1, self.blocks[-1].tokens.stop)

    def split(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Return the part of each block in values of the logits' shape: by row, or by row and token."""
        if not self.by_token:
            return [values[block.rows] for block in self.blocks]
        return [values[0, block.tokens].view(block.num_rows, block.length, -1) for block in self.blocks]

    def by_slot(self) -> list[torch.Tensor]:
        """Return the logits of each block, detached."""
        return self.split(self.all_slots.detach())


class Pack:
    """One frozen base model and its slots.

    Attributes:
        model: the base model with packed modules.
        parameters: trainable parameters of all slots.
        device, dtype: device and number format of the frozen weights.
    """

    def __init__(
        self,
        source: Source,
        objective: Objective,
        device: str,
        dtype: torch.dtype,
        quantisation: Quantisation | None = None,
        *,
        grouped: bool | None = None,
    ) -> None:
        """Load the base model.

        Args:
            source: the base model.
            objective: states the head.
            device: ``cpu`` or ``cuda``.
            dtype: number format of frozen weights and activations; adapters and heads are float32.
            quantisation: format of the frozen linear weights; their products are computed in ``dtype``.
            grouped: whether a device computes grouped products; None means if it has a kernel for them.
        """
        base = load_base(source, objective, device, dtype=dtype, attention=NAME, quantisation=quantisation)
        self.model = base.model.requires_grad_(False)
        self.device = device
        self.dtype = dtype
        self.parameters = SlotParameters(device)
        self._grouped = grouped
        self._free: list[int] = []
        self._lora: dict[str, PackedLoRA] = {}
        self._full: dict[str, PackedLinear | PackedNorm] = {}
        number_modules(self.model)
        for parent in list(self.model.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Dropout:
                    parent.register_module(name, PackedDropout(child))
        install_hooks(self.model)
        skip_unread_tokens(self.model.eval())

    @property
    def slots(self) -> int:
        """P, free slots included."""
        return self.parameters.slots

    def pack_layers(self, adapter: Adapter) -> None:
        """Replace every layer of the adapter with a packed layer.

        Raises:
            CannotPackError: a pack does not support one of the layers, or it is too narrow.
        """
        try:
            for key in sorted(adapter.tensors, key=_is_magnitude):  # after all A and B
                self.pack_layer(*parse_key(key))
        finally:
            self.parameters.allocate()

    def add(self, adapter: Adapter, dropout: float = 0.0) -> int:
        """Copy an adapter into a free slot and return the slot's index.

        Args:
            adapter: initial values.
            dropout: drop probability of the adapter's inputs.

        Raises:
            CannotPackError: see ``pack_layers``.
        """
        self.pack_layers(adapter)
        slot = self._free.pop(0) if self._free else self.slots
        rank = max(self.parameters.rank, -(-adapter.rank // RANK_STEP) * RANK_STEP)
        self.parameters.resize(max(self.slots, slot + 1), rank)
        for name, rank_and_scale in adapter.layers().items():
            self._lora[name].adapted[slot] = rank_and_scale
        for key in adapter.tensors:
            if _is_magnitude(key):
                self._lora[parse_key(key)[0]].dora.add(slot)
        keep_scale = 1.0 / (1.0 - quantise_drop_prob(dropout))
        self.parameters.set_scales(slot, SlotScales(adapter.scales, keep_scale=keep_scale))
        self.load(slot, adapter.tensors)
        trained_rank = adapter.trained_rank
        for key, value in adapter.subtracted.items():  # frozen ranks, behind the trained ranks
            layer, kind = parse_key(key)
            frozen = _rank_first(key, value if kind == "A" else -value)
            ranks = slice(trained_rank, trained_rank + frozen.shape[0])
            self.parameters.stacks[kind].values[slot, ranks, self.parameters.columns(kind, layer)] = frozen
        return slot

    def remove(self, slot: int) -> None:
        """Free a slot; its parameters and gradients become zero."""
        for layer in self._lora.values():
            layer.adapted.pop(slot, None)
            layer.dora.discard(slot)
        self.parameters.clear(slot)
        self._free = sorted([*self._free, slot])

    def remove_all(self) -> None:
        """Free every slot and the memory of all parameters."""
        self._free = []
        for layer in self._lora.values():
            layer.adapted.clear()
            layer.dora.clear()
        self.parameters.resize(0, RANK_STEP)

    def load(self, slot: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy an adapter's tensors into a slot."""
        for key, value in tensors.items():
            self.view(slot, key, value.shape).copy_(_rank_first(key, value))

    def tensors(self, slot: int, adapter: Adapter) -> dict[str, torch.Tensor]:
        """Return copies of a slot's tensors with the names and shapes of the adapter's file."""
        return {
            key: _rank_first(key, self.view(slot, key, value.shape)).clone() for key, value in adapter.tensors.items()
        }

    def view(self, slot: int, key: str, shape: torch.Size, name: str = "values") -> torch.Tensor:
        """Return a view of a slot's tensor; B has its rank first.

        Args:
            slot: index of the slot.
            key: name of the tensor in an adapter's file.
            shape: shape of the tensor in an adapter's file.
            name: tensor of ``ParameterStack``: ``values``, ``gradients``, ``means`` or ``squares``.
        """
        layer, kind = parse_key(key)
        if kind == "weight" and isinstance(self._full[layer], PackedNorm):
            kind = "norm"
        stacked_PRW = self.parameters.stacks[kind].tensors()[name]
        return self.parameters.layer_view(stacked_PRW, slot, layer, kind, shape)

    def set_training(self, *, training: bool) -> None:
        """Put the model into training or eval mode, before threads run it."""
        self.model.train(training)

    def logits(self, batch: Mapping[str, torch.Tensor], layout: Layout, masks: DropoutMasks | None = None) -> Logits:
        """Return the logits of a batch.

        Args:
            batch: rows of all slots, padded to the longest row.
            layout: layout of the batch.
            masks: dropout masks, in training mode.
        """
        if self.device != "cpu":
            self.parameters.prepare_matrices(layout.slots_G, self.dtype, training=self.model.training)
        with forward_context(layout, masks) as context:
            return Logits(forward(self.model, batch), context.layout.blocks)

    def pack_layer(self, name: str, kind: str) -> None:
        """Replace a layer with a packed layer, unless it is packed already.

        The new layer's parameters are empty until ``allocate``.

        Args:
            name: name of the layer in the base model.
            kind: kind of the parameter to train, see ``parse_key``.

        Raises:
            CannotPackError: see ``pack_layers``.
        """
        if kind == "magnitude":
            self._lora[name].add_magnitude()
        if name in self._lora or name in self._full:
            return
        try:
            module = self.model.get_submodule(name)
        except AttributeError:  # peft's wrappers adapt parameters of mixtures of experts
            raise CannotPackError(f"{name} is a parameter of experts, and a pack trains only linear layers") from None
        if kind in RANKED and isinstance(module, nn.Linear | Conv1D):
            frozen = FrozenWeight.from_layer(module)
            if any(width % ALIGNMENT for width in frozen.shape):
                shape = " × ".join(map(str, frozen.shape))
                raise CannotPackError(f"{name} is {shape}, not multiples of {ALIGNMENT}")
            self._lora[name] = PackedLoRA(module, frozen, name, self.parameters, grouped=self._grouped)
            self._replace(name, self._lora[name])
        elif kind in {"weight", "bias"} and isinstance(module, nn.Linear):
            self._full[name] = PackedLinear(module, name, self.parameters)
            self._replace(name, self._full[name])
        elif kind in {"weight", "bias"} and isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
            self._full[name] = PackedNorm(module, name, self.parameters)
            self._replace(name, self._full[name])
        else:
            raise CannotPackError(f"{name} is a {type(module).__name__}, and a pack trains only linear layers")

    def _replace(self, name: str, module: nn.Module) -> None:
        parent, _, child = name.rpartition(".")
        self.model.get_submodule(parent).register_module(child, module.train(self.model.training))


def _is_magnitude(key: str) -> bool:
    return parse_key(key)[1] == "magnitude"


def _rank_first(key: str, value: torch.Tensor) -> torch.Tensor:
    """Return a tensor of an adapter's file with its rank first, as stored in the stacks, or the reverse."""
    return value.t() if parse_key(key)[1] == "B" else value
