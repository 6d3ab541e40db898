"""AdamW for one slot: torch's fused kernel, one call per group of like parameters, on the slot's pieces.

A call over all slots at once would have to read and write the padding of every narrower rank, and to spread each
slot's rates over its elements; the fused kernel reads and writes each element once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from orchestrator.core.settings import TrialSettings
from orchestrator.training.optimiser import learning_rate_of


@dataclass(kw_only=True, slots=True)
class SlotOptimiser:
    """One trial's AdamW.

    Attributes:
        settings: the trial's.
        mean, square: both moments, by the names of an adapter's file, laid out as the stacks are.
        updates: how many were made.
    """

    settings: TrialSettings
    mean: dict[str, torch.Tensor]
    square: dict[str, torch.Tensor]
    updates: int = 0
    _groups: dict[tuple[float, float], list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._groups = {}
        for name, value in self.mean.items():
            decay = self.settings.weight_decay if value.dim() > 1 else 0.0
            self._groups.setdefault((learning_rate_of(name, self.settings), decay), []).append(name)

    def step(
        self, parameters: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor], factor: float
    ) -> None:
        """Update the parameters in place.

        Args:
            parameters: by name.
            gradients: divided and clipped already.
            factor: what the schedule multiplies the learning rates with.
        """
        settings = self.settings
        for (rate, decay), names in self._groups.items():
            # The kernel reads a count for each tensor, and changes none. Filled there: a device is not waited for.
            step = torch.full((), float(self.updates + 1), device=parameters[names[0]].device)
            torch._fused_adamw_(
                [parameters[name] for name in names],
                [gradients[name] for name in names],
                [self.mean[name] for name in names],
                [self.square[name] for name in names],
                [],
                [step] * len(names),
                lr=rate * factor,
                beta1=settings.beta1,
                beta2=settings.beta2,
                weight_decay=decay,
                eps=settings.epsilon,
                amsgrad=False,
                maximize=False,
            )
        self.updates += 1
