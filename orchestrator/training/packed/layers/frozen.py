"""The weights of frozen linear layers, and the gradients of stacked parameters."""

from dataclasses import dataclass

import torch
from torch import nn


def grad_of(parameter: nn.Parameter) -> torch.Tensor:
    """Return the gradient of a stacked parameter."""
    assert parameter.grad is not None
    return parameter.grad


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenWeight:
    """The weight of a frozen linear layer, in the format of the base model.

    A 4-bit weight is dequantised once per forward and once per backward of a thread, for all its slots, and freed after
    the layer's product. Keeping it would cost the memory that 4 bits save.

    Attributes:
        stored: ``weight_OI``, or bitsandbytes' 4-bit parameter.
        outputs, inputs: O and I.
    """

    stored: torch.Tensor
    outputs: int
    inputs: int

    @classmethod
    def from_layer(cls, base: nn.Module) -> "FrozenWeight":
        """Return the weight of an ``nn.Linear``, a 4-bit layer, or a ``Conv1D`` of transformers (stored transposed)."""
        assert isinstance(base.weight, torch.Tensor)
        if not isinstance(base, nn.Linear):
            weight_OI = base.weight.detach().t().contiguous()
            return cls(stored=weight_OI, outputs=weight_OI.shape[0], inputs=weight_OI.shape[1])
        in_4_bits = not base.weight.is_floating_point()  # detach() would lose the scales of bitsandbytes' parameter
        stored = base.weight if in_4_bits else base.weight.detach()
        return cls(stored=stored, outputs=base.out_features, inputs=base.in_features)

    @property
    def shape(self) -> tuple[int, int]:
        """O and I."""
        return self.outputs, self.inputs

    def weight(self) -> torch.Tensor:
        """Return ``weight_OI`` in the number format of the activations."""
        if self.stored.is_floating_point():
            return self.stored
        from orchestrator.training.model.quantised import weight_of

        return weight_of(self.stored)
