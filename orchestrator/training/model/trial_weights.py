"""Weights for a trial run, with attention scores of realistic size."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def scale_up_weights(model: "torch.nn.Module") -> None:
    """Scale small weights up in place, so that the outputs of each layer are about as large as its inputs.

    Newly initialised weights give attention scores near zero. A softmax is flat there, and hides differences such as
    capped, scaled or wrongly masked scores. Large weights, such as trained ones, are not changed.
    """
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2 or not parameter.is_floating_point():
                continue
            size = parameter.float().std().item() * parameter.shape[-1] ** 0.5
            if 0.0 < size < 1.0:
                parameter.mul_(1.0 / size)
