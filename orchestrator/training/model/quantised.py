"""Frozen linear layers in 4 bits: how a base is loaded with them, and how they compute.

QLoRA (arXiv 2305.14314): the base's weights are held as codes and turned back for each product, adapters and heads are
float32. Imports bitsandbytes, so it is imported only where a base is quantised.
"""

from typing import Any

import bitsandbytes
import torch
from torch import nn
from transformers import BitsAndBytesConfig

from orchestrator.core.errors import UserError
from orchestrator.core.quantisation import Quantisation, loading_arguments

BLOCK = 64
"""Weights that share a scale."""


class FrozenLinear(bitsandbytes.nn.Linear4bit):
    """bitsandbytes' layer, which computes in the number format of its input, or of autocast, as ``nn.Linear`` does.

    bitsandbytes' own forward does two things for good: evaluated on a CPU with bfloat16 products it stores the weight
    in an order in which it can no longer be trained, and with a rounded scale; and it rounds the bias to the format of
    whatever input comes. Both would make a report of training differ from a measurement of its checkpoint.
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
    """Return the arguments of ``from_pretrained`` with which a base is quantised while it is read.

    It is read in float32 whatever it computes in later, so that every engine has the same codes.
    """
    place = "cpu" if device == "cpu" else torch.device(device).index or 0
    return {
        "quantization_config": BitsAndBytesConfig(**loading_arguments(quantisation)),
        "device_map": {"": place},
        "dtype": torch.float32,
    }


def settle(model: nn.Module, dtype: torch.dtype) -> None:
    """Make a base that was just loaded compute in ``dtype``: what is in 4 bits is turned into it, the rest is cast.

    Raises:
        UserError: on a CPU, a layer's inputs are no multiple of a block: bitsandbytes 0.50.2 turns such weights back
            wrongly there.
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
    """Return ``weight_OI`` of a quantised layer's parameter, in the format that the layer was settled in."""
    weight_OI: torch.Tensor = bitsandbytes.functional.dequantize_4bit(codes, codes.quant_state)  # type: ignore[attr-defined]
    return weight_OI
