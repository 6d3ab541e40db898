"""Frozen linear layers in 4 or 8 bits.

QLoRA (arXiv 2305.14314): the frozen weights are stored as codes and decoded for each product; adapters and heads are
float32. This module imports bitsandbytes, so import it only for a quantised base model.
"""

from typing import Any

import bitsandbytes
import torch
from torch import nn
from transformers import BitsAndBytesConfig

from orchestrator.core.errors import UserError
from orchestrator.core.methods.quantisation import Quantisation, loading_arguments

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


class FrozenLinear8(bitsandbytes.nn.Linear8bitLt):
    """An 8-bit layer with the number format of its input, or of autocast, like ``nn.Linear``.

    The forward of bitsandbytes rounds inputs to float16 and then to 8 bits, so that the output of a row depends on the
    other rows (outliers are found for all rows together). Here the weight is decoded for each product.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for any leading dimensions."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        bias_O = None if self.bias is None else self.bias.to(dtype)
        with torch.autocast(device, enabled=False):
            y: torch.Tensor = _DecodedProduct.apply(x.to(dtype), self.weight, bias_O)  # type: ignore[no-untyped-call]  # torch's
        return y


class _DecodedProduct(torch.autograd.Function):
    """``nn.functional.linear``; the weight is decoded again for the backward, because keeping it would cost memory."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, codes: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:  # noqa: ANN401  (torch's context)
        """Return the output; ``codes`` is a parameter with its scales."""
        ctx.codes = codes
        return nn.functional.linear(x, _decoded(codes, x.dtype), bias_O)

    @staticmethod
    def backward(ctx: Any, grad_y: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor | None]:  # noqa: ANN401  (torch's context)
        """Return the gradients of the input and the bias."""
        grad_bias_O = grad_y.flatten(0, -2).sum(0) if ctx.needs_input_grad[2] else None
        return grad_y @ _decoded(ctx.codes, grad_y.dtype), None, grad_bias_O


def _decoded(codes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return ``weight_OI`` of an 8-bit parameter: a code times the scale of its output, 127 steps on each side."""
    scales_O: torch.Tensor = codes.SCB  # type: ignore[attr-defined]  # set by bitsandbytes
    return (codes.data * (scales_O / 127)[:, None]).to(dtype)


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


def set_compute_dtype(model: nn.Module, dtype: torch.dtype) -> None:
    """Make a newly loaded base model compute in ``dtype``: decode quantised weights to it, and cast the others.

    Raises:
        UserError: on a CPU, the number of a layer's inputs is not a multiple of a block: bitsandbytes 0.50.2 decodes
            such weights wrongly.
    """
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            if module.weight.device.type == "cpu" and module.in_features % BLOCK:
                rule = f"on a CPU, the 4-bit formats need numbers of inputs that are a multiple of {BLOCK}"
                has = f"and {name} of this model has {module.in_features}"
                raise UserError(f"quantisation: {rule}, {has}; int8 has no such rule")
            module.__class__ = FrozenLinear
            module.weight.quant_state.dtype = dtype
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            module.__class__ = FrozenLinear8
            module.weight.decoded_dtype = dtype
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def weight_of(codes: torch.Tensor) -> torch.Tensor:
    """Return ``weight_OI`` of a quantised layer's parameter, in the number format given to ``set_compute_dtype``."""
    if codes.dtype is torch.int8:
        return _decoded(codes, codes.decoded_dtype)  # type: ignore[attr-defined]  # set by set_compute_dtype
    weight_OI: torch.Tensor = bitsandbytes.functional.dequantize_4bit(codes, codes.quant_state)  # type: ignore[attr-defined]  # set by bitsandbytes
    return weight_OI
