"""The weight of a frozen linear layer, however the base holds it."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenWeight:
    """A weight that all slots share.

    In 4 bits it is turned back once for a forward and once for a backward, for all slots of a thread's part, and lives
    no longer than that layer's product: layers kept turned back would take what 4 bits save.

    Attributes:
        stored: ``weight_OI`` itself, or bitsandbytes' parameter.
        outputs, inputs: O and I.
    """

    stored: torch.Tensor
    outputs: int
    inputs: int

    @classmethod
    def of(cls, base: nn.Module) -> "FrozenWeight":
        """Return the weight of ``nn.Linear``, of the 4-bit layer, or of transformers' ``Conv1D``, stored transposed."""
        assert isinstance(base.weight, torch.Tensor)
        if not isinstance(base, nn.Linear):
            weight_OI = base.weight.detach().t().contiguous()
            return cls(stored=weight_OI, outputs=weight_OI.shape[0], inputs=weight_OI.shape[1])
        in_4_bits = not base.weight.is_floating_point()  # detached, bitsandbytes' parameter would lose its scales
        stored = base.weight if in_4_bits else base.weight.detach()
        return cls(stored=stored, outputs=base.out_features, inputs=base.in_features)

    @property
    def shape(self) -> tuple[int, int]:
        """O and I."""
        return self.outputs, self.inputs

    def weight(self) -> torch.Tensor:
        """Return ``weight_OI`` in the number format of what flows between layers."""
        if self.stored.is_floating_point():
            return self.stored
        from orchestrator.training.model.quantised import weight_of

        return weight_of(self.stored)
