"""Base models in memory, shared by many adapters.

Each adapter gets its own modules, and all adapters over one base model share its tensors. So an adapter predicts with
the same code as alone, and costs little more memory than its own weights.
"""

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.sweeps.plan import Precision, WeightFormat
from orchestrator.tracking.logged_models.adapters import CONFIG, AdapterCard
from orchestrator.tracking.logged_models.runners import load_base_in

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

ADDING = frozenset({"LORA", "IA3", "LOHA", "LOKR", "VERA"})
"""The methods of peft that do not change the frozen weights. Some initialisations of LoRA are exceptions."""
PLAIN_INITS = (None, True, False, "gaussian")


class BaseModels:
    """The loaded base models. A base model is loaded once for all its adapters with equal heads.

    A base model with other classes is loaded again, because its head has another size; all equal tensors are shared
    after that. Each number format is loaded by itself. A quantised base model, and one that peft changes while it loads
    the adapter, is not shared.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._models: dict[str, PreTrainedModel] = {}
        self._tensors: dict[str, dict[str, Tensor]] = {}

    @property
    def num_bytes(self) -> int:
        """Memory of the shared tensors in bytes; a tensor of several models counts once."""
        tensors = {id(each): each for model in self._models.values() for each in _tensors(model).values()}
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    def model_for(
        self, adapter: Path, card: AdapterCard, base: str, precision: WeightFormat = Precision.FLOAT32
    ) -> "PreTrainedModel":
        """Return a base model for one adapter, with modules of its own.

        Args:
            adapter: the adapter's folder.
            card: its card.
            base: the base model's folder or hub id.
            precision: number format of its weights.

        Raises:
            OSError: the base model cannot be loaded.
        """
        from torch import nn

        if card.quantisation is not None or not leaves_base_unchanged(adapter):
            return load_base_in(precision, card, base, self._device)
        weights = json.dumps([base, card.base.revision, card.head, precision])
        key = json.dumps([weights, len(card.labels)])
        if key not in self._models:
            model = load_base_in(precision, card, base, self._device)
            nn.Module.to(model, self._device)
            _share(model, self._tensors.setdefault(weights, {}))
            self._models[key] = model
        model = self._models[key]
        # deepcopy takes an object in this table as its own copy.
        shared = {id(tensor): tensor for tensor in _tensors(model).values()}
        copied: PreTrainedModel = copy.deepcopy(model, shared)
        return copied


def leaves_base_unchanged(adapter: Path) -> bool:
    """Return whether peft changes no tensor of the base model when it loads the adapter in this folder."""
    config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    return (
        config["peft_type"] in ADDING
        and config.get("bias", "none") == "none"
        and config.get("init_lora_weights") in PLAIN_INITS
        and not config.get("layer_replication")
        and not config.get("trainable_token_indices")
    )


def _tensors(model: "Module") -> "dict[str, Tensor]":
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _share(model: "Module", known: "dict[str, Tensor]") -> None:
    """Replace the model's parameters by equal known ones, and add the others to ``known``."""
    import torch

    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        other = known.setdefault(name, parameter)
        alike = (other.dtype, other.shape) == (parameter.dtype, parameter.shape)
        if other is not parameter and alike and torch.equal(other, parameter):
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, other)
