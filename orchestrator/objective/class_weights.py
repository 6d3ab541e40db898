"""Class weights of the training loss, the same as ``torch.nn.CrossEntropyLoss(weight=…)``.

Only training is weighted: reports, metrics and the overfit gap count every row alike.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.core.errors import UserError
from orchestrator.core.tasks.class_weights import BALANCED, NONE, stated_weights
from orchestrator.core.tasks.labels import class_of
from orchestrator.core.tasks.problem import Problem
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.protocol import Objective, problem_of

if TYPE_CHECKING:
    import torch


def class_weights(setting: str, objective: Objective, ids: Iterable[int]) -> tuple[float, ...] | None:
    """Return the weight of each class, or None without weights.

    Balanced weights are ``n / (C × n_c)`` with n training rows, C classes and n_c rows of class c, as in scikit-learn.
    Classes missing in a mapping, and classes without rows, have the weight 1.

    Args:
        setting: see ``core.tasks.class_weights``.
        objective: has the names of the classes.
        ids: class id of each training row of the trial.

    Raises:
        UserError: a class does not exist, or the objective has no classes or its own loss.
    """
    if setting == NONE:
        return None
    _require_cross_entropy(objective)
    labels = objective.labels
    if setting == BALANCED:
        counts = Counter(ids)
        present = len(counts)
        return tuple(counts.total() / (present * counts[at]) if counts[at] else 1.0 for at in range(len(labels)))
    weights = [1.0] * len(labels)
    for name, weight in stated_weights(setting).items():
        at = class_of(name, labels)
        if at is None:
            raise UserError(f"training.class_weights: no class is called {name} (classes: {', '.join(labels)})")
        weights[at] = weight
    return tuple(weights)


def _require_cross_entropy(objective: Objective) -> None:
    """Raise ``UserError`` unless the loss is the cross entropy of one class per row."""
    if problem_of(objective) is not Problem.SINGLE_LABEL or not objective.labels:
        raise UserError(f"training.class_weights: objective {objective.name} does not give each row one class")
    if getattr(type(objective), "losses", None) is not TextClassification.losses:
        raise UserError(f"training.class_weights: objective {objective.name} has a loss of its own, without weights")


def training_losses(
    objective: Objective,
    logits: "torch.Tensor",
    batch: "Mapping[str, torch.Tensor]",
    label_smoothing: float,
    weights: Sequence[float] | None,
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the objective's losses and units, or their weighted form: a row has as many units as its class's weight.

    Smoothing weights each class of the smoothed label, as in torch.
    """
    if weights is None:
        return objective.losses(logits, batch, label_smoothing)
    import torch

    weights_C = torch.tensor(weights, device=logits.device)
    loss_B = torch.nn.functional.cross_entropy(
        logits.float(), batch["labels"], weight=weights_C, reduction="none", label_smoothing=label_smoothing
    )
    return loss_B, weights_C[batch["labels"]]
