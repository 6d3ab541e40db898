"""The memory of a base model's weights: planned from its structure, and measured on a loaded model."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.core.methods.quantisation import Quantisation

if TYPE_CHECKING:
    import torch

_BLOCK = 64
"""Weights with a common scale in 4 bits."""
_BLOCK_OF_SCALES = 256
"""Scales with a common scale of their own, with double quantisation."""
_TABLES = 4 * (16 + 256 + 1)
"""Bytes of a layer's tables with double quantisation: codes of weights, codes of scales, and the scales' mean."""


def in_numbered_layer(name: str) -> bool:
    """Return whether a module's name has a number between dots: these layers are quantised if they are linear."""
    return re.search(r"\.\d+\.", f".{name}.") is not None


def planned_bytes(model: "torch.nn.Module", quantisation: Quantisation | None, float_bytes: int) -> int:
    """Return the bytes of a base model's weights, from its structure; a shared weight counts once.

    Args:
        model: the model, possibly on the ``meta`` device and never quantised.
        quantisation: format of the frozen linear layers; None: as the others.
        float_bytes: bytes of each other weight.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    total, seen = 0, set[int]()
    for name, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            linear = own == "weight" and (type(module) is Linear or isinstance(module, Conv1D))
            if quantisation is not None and linear and in_numbered_layer(name):
                outputs = parameter.shape[0 if type(module) is Linear else 1]
                total += _layer_bytes(parameter.numel(), outputs, quantisation)
            else:
                total += parameter.numel() * float_bytes
    return total


def _layer_bytes(weights: int, outputs: int, quantisation: Quantisation) -> int:
    """Return the bytes of a quantised layer's codes and scales."""
    if quantisation is Quantisation.INT8:
        return weights + 4 * outputs
    blocks = -(-weights // _BLOCK)
    scales = blocks + 4 * -(-blocks // _BLOCK_OF_SCALES) + _TABLES if quantisation.is_double else 4 * blocks + 4 * 16
    return weights // 2 + scales


def held_bytes(model: "torch.nn.Module") -> int:
    """Return the bytes of a loaded model's weights and their scales; shared memory counts once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for parameter in model.parameters()
        for tensor in _tensors(parameter)
    }
    return sum(storages.values())


def _tensors(parameter: "torch.Tensor") -> "Iterator[torch.Tensor]":
    """Yield a weight and the tensors of its scales."""
    yield parameter.data
    if (scales := getattr(parameter, "SCB", None)) is not None:
        yield scales
    state = getattr(parameter, "quant_state", None)
    while state is not None:
        yield from (each for each in (state.absmax, state.code, state.offset) if each is not None)
        state = state.state2
