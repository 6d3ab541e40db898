"""A base model without its weights: enough to see what an adapter would be put on."""

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
    """Return the base model on torch's ``meta`` device, in float32 and never quantised; its weights are not read.

    Raises:
        AssetError: the model is missing or cannot be reached.
    """
    model, found = without_weights(source, objective)
    lacking = {*found["missing_keys"], *(key[0] for key in found.get("mismatched_keys", ()))}
    fresh = tuple(sorted({key.rpartition(".")[0] for key in lacking}))
    return Base(model=model, fresh_modules=fresh, revision=source.revision)


def without_weights(
    source: Source, objective: Objective, *, ignore_mismatched_sizes: bool = False
) -> "tuple[PreTrainedModel, dict[str, Any]]":
    """Return the model with the objective's head on the ``meta`` device, and how the names in its files match its own.

    Args:
        source: the base model.
        objective: its head.
        ignore_mismatched_sizes: report tensors of another shape than the files' instead of raising. A classifier's
            head is always reported.

    Raises:
        AssetError: the model is missing or cannot be reached.
    """
    import torch

    auto, arguments = with_head(objective)
    arguments |= {"ignore_mismatched_sizes": True} if ignore_mismatched_sizes else {}
    arguments |= {"dtype": torch.float32, "device_map": "meta", "trust_remote_code": False}
    with quiet_libraries():
        model, found = load_pretrained(auto, source, output_loading_info=True, **arguments)
    return model, found


def copied(base: Base) -> Base:
    """Return a copy, which an adapter may be put on."""
    return replace(base, model=copy.deepcopy(base.model))


def without_repetitions(base: Base) -> Base:
    """Return a copy with one of each kind of the layers that stand in a list: what peft does to one it does to all."""
    from torch.nn import ModuleList

    found = copied(base)
    for module in list(found.model.modules()):
        if isinstance(module, ModuleList):
            kinds: dict[tuple[object, ...], str] = {}
            for name, child in list(module.named_children()):
                if kinds.setdefault(_kind(child), name) != name:
                    del module._modules[name]
    return found


def _kind(module: "nn.Module") -> tuple[object, ...]:
    """Return what makes modules of one kind: the names, classes and shapes of all that they hold."""
    inner = tuple((name, type(child)) for name, child in module.named_modules())
    return inner, tuple((name, tuple(parameter.shape)) for name, parameter in module.named_parameters())
