"""AdamW over a PEFT model's trainable parameters, in groups by learning rate and weight decay."""

import math
from typing import TYPE_CHECKING

from orchestrator.core.methods import METHODS
from orchestrator.core.settings import TrialSettings

if TYPE_CHECKING:
    import torch

_ADAPTER = tuple(method.prefix for method in METHODS.values())
_FACTORS = METHODS["ia3"].prefix
_LORA_B = ("lora_B", "lora_embedding_B")


def build_optimiser(model: "torch.nn.Module", settings: TrialSettings) -> "torch.optim.AdamW":
    """Return AdamW as the settings say.

    LoRA+ (arXiv 2402.12354) multiplies the learning rate of B; everything trainable that is no method's
    tensor is the head. What is decayed is drawn to zero, so biases and norms are not: nor are the factors of IA3, which
    leave the base as it is at 1.
    """
    import torch

    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.dim() > 1 and _FACTORS not in name else 0.0
            groups.setdefault((learning_rate_of(name, settings), decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": found, "lr": rate, "weight_decay": decay} for (rate, decay), found in groups.items()],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
    )


def learning_rate_of(name: str, settings: TrialSettings) -> float:
    """Return the peak learning rate of a parameter by its name in the model or in an adapter's file."""
    if not any(part in name for part in _ADAPTER):
        return settings.head_learning_rate or settings.learning_rate
    if any(part in name for part in _LORA_B):
        return settings.learning_rate * (settings.lora_plus_ratio or 1.0)
    return settings.learning_rate


def schedule_factor(settings: TrialSettings, update: int, updates: int) -> float:
    """Return what the peak learning rate is multiplied with in update ``update``, from 0, of ``updates`` in all.

    It rises in a straight line over ``warmup_ratio`` of the updates, from zero; then it falls in a straight line or a
    half cosine to zero, or stays. The same numbers as transformers' ``get_scheduler`` gives.
    """
    warmup = math.ceil(settings.warmup_ratio * updates)
    if update < warmup:
        return update / max(1, warmup)
    done = (update - warmup) / max(1, updates - warmup)
    if settings.schedule == "constant":
        return 1.0
    return max(0.0, 1.0 - done if settings.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done)))
