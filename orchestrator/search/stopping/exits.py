"""Divergence exit, overfitting exit and limits: pure functions of one trial's reports.

The stopping rules decide when to apply them.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

from orchestrator.core.sweeps.goal import Constraint
from orchestrator.core.trials.trial import Report

_LOSSES = ("val/loss", "train/loss")
_EXPLODED_RATIO = 3.0
_EXPLODED_MARGIN = 1.0


def diverged(metrics: Mapping[str, float], history: Sequence[Report]) -> str | None:
    """Return the reason why a trial has diverged, as a sentence, or None.

    A trial has diverged if a loss is not finite, or if validation and training loss both exceed three times their
    minimum plus 1 nat. Validation loss alone also triples in an overfitting classifier with overconfident mistakes;
    its training loss stays low, and the trial is good up to its best report. The margin of 1 nat excludes losses near
    zero (0.01, then 0.05), where a ratio is meaningless.

    Args:
        metrics: metrics of the newest report. A missing loss is ignored.
        history: the trial's reports, with or without the newest.
    """
    for name in _LOSSES:
        if name in metrics and not math.isfinite(metrics[name]):
            return f"{name} is {metrics[name]}"
    judged = [name for name in _LOSSES if name in metrics]
    smallest = {name: _smallest(history, name) for name in judged}
    if not judged or any(metrics[name] <= _EXPLODED_RATIO * smallest[name] + _EXPLODED_MARGIN for name in judged):
        return None
    words = " and ".join(f"{name} {metrics[name]:.4g} after {smallest[name]:.4g}" for name in judged)
    return f"the loss exploded: {words}"


def overfitting(history: Sequence[Report], patience: int) -> str | None:
    """Return the reason why a trial is overfitting, as a sentence, or None.

    A trial is overfitting if validation loss rose at each of the last ``patience`` reports while training loss fell
    over the same reports. Training loss is compared between the first and the last of them, because it fluctuates
    near zero.

    Args:
        history: the trial's reports by ascending samples, including the newest.
        patience: number of consecutive rises, at least 1.

    Raises:
        ValueError: ``patience`` is below 1.
    """
    if patience < 1:
        raise ValueError(f"patience >= 1 must hold, got {patience}")
    window = history[-patience - 1 :]
    if len(window) <= patience or any(name not in report.metrics for report in window for name in _LOSSES):
        return None
    validation, train = ([report.metrics[name] for report in window] for name in _LOSSES)
    if not all(later > earlier for earlier, later in itertools.pairwise(validation)):
        return None
    if not train[-1] < train[0]:
        return None
    return (
        f"validation loss rose {patience} report{'s' if patience > 1 else ''} in a row, {validation[0]:.4g} to "
        f"{validation[-1]:.4g}, while training loss fell from {train[0]:.4g} to {train[-1]:.4g}"
    )


def outside(metrics: Mapping[str, float], limits: Sequence[Constraint]) -> str | None:
    """Return the first limit that a report breaks, as a sentence, or None. A metric without a value breaks none.

    Args:
        metrics: metrics of the report.
        limits: ranges of metrics.
    """
    for limit in limits:
        value = metrics.get(limit.name)
        if value is not None and limit.excess(value) > 0:
            return f"{limit.name} is {value:.4g}, early_stopping.limits asks for {limit}"
    return None


def _smallest(history: Sequence[Report], name: str) -> float:
    """Return the smallest finite value of a metric, or infinity."""
    values = (report.metrics.get(name, math.inf) for report in history)
    return min((value for value in values if math.isfinite(value)), default=math.inf)
