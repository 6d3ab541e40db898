"""Frozen linear layers in 4 bits.

QLoRA (arXiv 2305.14314): the frozen weights are stored as codes and decoded for each product; adapters and heads are
float32. This module imports bitsandbytes, so import it only for a quantised base model.
"""

from typing import Any

import bitsandbytes
import torch
from torch import nn
from transformers import BitsAndBytesConfig

from orchestrator.core.errors import UserError
from orchestrator.core.quantisation import Quantisation, loading_arguments

BLOCK = 64
"""Number of weights with a common scale."""


class FrozenLinear(bitsandbytes.nn.Linear4bit):
    """A 4-bit layer with the number format of its input, or of autocast, like ``nn.Linear``.

    The forward of bitsandbytes changes the layer permanently: on a CPU in bfloat16 and eval mode it repacks the weight,
    with a rounded scale, so that it cannot be trained; and it rounds the bias to the format of the input. Reports of
    training would then differ from measurements of their checkpoints.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for any leading dimensions."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        bias_O = None if self.bias is None else self.bias.to(dtype)
        with torch.autocast(device, enabled=False):
            y: torch.Tensor = bitsandbytes.matmul_4bit(
                x.to(dtype), self.weight, quant_state=self.weight.quant_state, bias=bias_O
            )
        return y


def loading(quantisation: Quantisation, device: str) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` to quantise a base model while loading it.

    The files are read in float32 in every engine, so that all engines have the same codes.
    """
    place = "cpu" if device == "cpu" else torch.device(device).index or 0
    return {
        "quantization_config": BitsAndBytesConfig(**loading_arguments(quantisation)),
        "device_map": {"": place},
        "dtype": torch.float32,
    }


def settle(model: nn.Module, dtype: torch.dtype) -> None:
    """Make a newly loaded base model compute in ``dtype``: decode 4-bit weights to it, and cast the others.

    Raises:
        UserError: on a CPU, the number of a layer's inputs is not a multiple of a block: bitsandbytes 0.50.2 decodes
            such weights wrongly.
    """
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            if module.weight.device.type == "cpu" and module.in_features % BLOCK:
                rule = f"on a CPU, nf4 needs layers whose inputs are a multiple of {BLOCK}"
                raise UserError(f"quantisation: {rule}, and {name} of this model has {module.in_features}")
            module.__class__ = FrozenLinear
            module.weight.quant_state.dtype = dtype
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def weight_of(codes: torch.Tensor) -> torch.Tensor:
    """Return ``weight_OI`` of a quantised layer's parameter, in the number format given to ``settle``."""
    weight_OI: torch.Tensor = bitsandbytes.functional.dequantize_4bit(codes, codes.quant_state)  # type: ignore[attr-defined]  # set by bitsandbytes
    return weight_OI
