"""The structure of a base model without its weights, to try adapters on."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.assets.models import load_pretrained
from orchestrator.core.data import Source
from orchestrator.objective.protocol import Objective
from orchestrator.training.model.base_model import Base, with_head
from orchestrator.training.model.quiet import quiet_libraries

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def load_structure(source: Source, objective: Objective) -> Base:
    """Return the base model on torch's ``meta`` device in float32, not quantised; its weights are not read.

    Raises:
        AssetError: the model is missing or cannot be reached.
    """
    return as_base(source, *without_weights(source, objective))


def as_base(source: Source, model: "PreTrainedModel", loading: dict[str, Any]) -> Base:
    """Return the result of ``without_weights`` as a base model."""
    missing = {*loading["missing_keys"], *(key[0] for key in loading.get("mismatched_keys", ()))}
    fresh = tuple(sorted({key.rpartition(".")[0] for key in missing}))
    return Base(model=model, fresh_modules=fresh, revision=source.revision)


def without_weights(
    source: Source, objective: Objective, *, ignore_mismatched_sizes: bool = False
) -> "tuple[PreTrainedModel, dict[str, Any]]":
    """Return the model on the ``meta`` device, and transformers' report on missing, unexpected and mismatched tensors.

    Args:
        source: the base model.
        objective: determines the head.
        ignore_mismatched_sizes: report tensors of another shape than in the files instead of raising. The head of a
            classifier is always reported.

    Raises:
        AssetError: the model is missing or cannot be reached.
    """
    import torch

    auto, arguments = with_head(objective)
    arguments |= {"ignore_mismatched_sizes": True} if ignore_mismatched_sizes else {}
    arguments |= {"dtype": torch.float32, "device_map": "meta", "trust_remote_code": False}
    with quiet_libraries():
        model, loading = load_pretrained(auto, source, output_loading_info=True, **arguments)
    return model, loading


def copy_structure(base: Base) -> Base:
    """Return a copy, for an adapter."""
    return replace(base, model=copy.deepcopy(base.model))


def without_repetitions(base: Base) -> Base:
    """Return a copy with one layer of each kind per list of layers: peft treats layers of one kind alike."""
    from torch.nn import ModuleList

    reduced = copy_structure(base)
    for module in list(reduced.model.modules()):
        if isinstance(module, ModuleList):
            kinds: dict[tuple[object, ...], str] = {}
            for name, child in list(module.named_children()):
                if kinds.setdefault(_kind(child), name) != name:
                    del module._modules[name]
    return reduced


def _kind(module: "nn.Module") -> tuple[object, ...]:
    """Return a key of a module's kind: the names and classes of its modules, the names and shapes of its parameters."""
    inner = tuple((name, type(child)) for name, child in module.named_modules())
    return inner, tuple((name, tuple(parameter.shape)) for name, parameter in module.named_parameters())
