"""AdaLoRA's share of the training loop: its penalty, its schedule of ranks, and the state of both for a checkpoint.

AdaLoRA (arXiv 2303.10512) trains P·Λ·Q with more ranks than it keeps, and sets the least important entries of Λ to
zero. Importance is a running average over the gradients, so a resumed trial needs the averages.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

if TYPE_CHECKING:
    from peft import AdaLoraConfig, AdaLoraModel, PeftModel

_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""peft's names of the averages, in ``RankAllocator``."""
_PATTERN = "rank_pattern"


class RankSchedule(TrainerCallback):
    """The ranks of one AdaLoRA adapter in training."""

    def __init__(self, model: "PeftModel") -> None:
        """Take an AdaLoRA model with a new adapter."""
        self._tuner = cast("AdaLoraModel", model.base_model)
        self._config = cast("AdaLoraConfig", model.peft_config["default"])

    def add_penalty(self) -> None:
        """Add the gradient of ``orth_reg_weight`` times the mean of ``‖PᵀP − I‖`` and ``‖QQᵀ − I‖``.

        peft adds it to the loss of a model, and objectives compute their own loss.
        """
        norms = []
        for name, parameter in self._tuner.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                product = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
                norms.append(torch.norm(product - torch.eye(len(product), device=product.device)))
        weight = float(self._config.orth_reg_weight)
        if norms and weight:
            (weight * torch.stack(norms).mean()).backward()

    @override
    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Update the averages, and mask the ranks outside the budget of this update. Gradients still exist.

        Updates count from 1, so that the last one has the final ranks.
        """
        self._tuner.update_and_allocate(state.global_step + 1)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the averages, and the kept ranks of each layer, for ``load_state``."""
        allocator = self._tuner.rankallocator
        state = {f"{kind}/{name}": value for kind in _AVERAGES for name, value in getattr(allocator, kind).items()}
        pattern = self._config.rank_pattern or {}
        state |= {f"{_PATTERN}/{name}": torch.tensor(kept, dtype=torch.bool) for name, kept in pattern.items()}
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue with the averages and ranks of ``state``."""
        device = next(self._tuner.parameters()).device
        pattern = {}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if kind == _PATTERN:
                pattern[name] = value.tolist()
            else:
                getattr(self._tuner.rankallocator, kind)[name] = value.to(device)
        self._config.rank_pattern = pattern or None
