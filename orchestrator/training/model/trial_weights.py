"""Weights for a trial run: wide enough that attention scores have the size that training gives them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def widen(model: "torch.nn.Module") -> None:
    """Scale small weights up, in place, until each layer's outputs are about as large as its inputs.

    Freshly drawn weights give scores near zero. There every softmax is flat, and scores that are capped, divided or
    masked in another way give the same logits. Weights that are large enough, as trained ones are, stay.
    """
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2 or not parameter.is_floating_point():
                continue
            size = parameter.float().std().item() * parameter.shape[-1] ** 0.5
            if 0.0 < size < 1.0:
                parameter.mul_(1.0 / size)
