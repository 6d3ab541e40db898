"""AdamW for a PEFT model, and its learning rates."""

import math
from typing import TYPE_CHECKING

from orchestrator.core.methods.catalogue import METHODS
from orchestrator.core.trials.settings import TrialSettings

if TYPE_CHECKING:
    import torch

IN_FULL = "modules_to_save"
"""peft's name for modules trained in full; part of the names of their parameters in a model."""
_TOKEN_ROWS = METHODS["trainable_tokens"].prefix
_LORA_B = ("lora_B", "lora_embedding_B")


def build_optimiser(
    model: "torch.nn.Module", settings: TrialSettings, heads: tuple[str, ...] = ("",)
) -> "torch.optim.AdamW":
    """Return AdamW over the trainable parameters, in groups by learning rate and weight decay.

    Biases, norms, and tensors with a neutral value other than 0, such as the factors of IA3 and rows of the embedding,
    have no weight decay.

    Args:
        model: the model in training.
        settings: settings of the trial.
        heads: starts of the names of the parameters that may have a rate of their own; see ``learning_rate_of``.
    """
    import torch

    method = METHODS[settings.method]
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_neutral = (not method.decays and method.prefix in name) or _TOKEN_ROWS in name
            is_decayed = parameter.dim() > 1 and not is_neutral
            decay = settings.weight_decay if is_decayed else 0.0
            rate = learning_rate_of(name, settings) if name.startswith(heads) else settings.learning_rate
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
    )


def learning_rate_of(name: str, settings: TrialSettings) -> float:
    """Return the peak learning rate of a parameter, given its name in the model.

    The head, and other modules trained in full, have a rate of their own. LoRA+ (arXiv 2402.12354) multiplies the
    learning rate of B.
    """
    if IN_FULL in name:
        return settings.head_learning_rate or settings.learning_rate
    if any(part in name for part in _LORA_B):
        return settings.learning_rate * (settings.lora_plus_ratio or 1.0)
    return settings.learning_rate


def schedule_factor(settings: TrialSettings, update: int, updates: int) -> float:
    """Return the learning rate of an update as a fraction of its peak, in 0 to 1, as ``transformers.get_scheduler``.

    The factor rises linearly from 0 over ``warmup_ratio`` of the updates. Then it falls to 0, linearly or as a half
    cosine, or stays at 1. With ``wsd`` (warm-up, stable, decay; arXiv 2404.06395) it stays at 1, then falls linearly to
    0 over the last ``decay_ratio`` of the updates.

    Args:
        settings: settings of the trial.
        update: index of the update, from 0.
        updates: number of updates of the trial.
    """
    warmup = warmup_updates(settings, updates)
    if update < warmup:
        return update / max(1, warmup)
    falling = decay_updates(settings, updates) if settings.schedule == "wsd" else updates - warmup
    done = max(0.0, (update - (updates - falling)) / max(1, falling))
    match settings.schedule:
        case "constant":
            return 1.0
        case "cosine":
            return max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))
        case _:
            return max(0.0, 1.0 - done)


def warmup_updates(settings: TrialSettings, updates: int) -> int:
    """Return the number of updates with a rising learning rate, of ``updates``."""
    return math.ceil(settings.warmup_ratio * updates)


def decay_updates(settings: TrialSettings, updates: int) -> int:
    """Return the number of updates with a falling learning rate at the end of schedule ``wsd``, of ``updates``."""
    return min(math.ceil(settings.decay_ratio * updates), updates - warmup_updates(settings, updates))
