"""The two early exits that look at one trial alone: divergence and overfitting. Pure functions of its reports.

They know nothing of other trials, of grace periods or of what happens to a trial they speak up about.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

from orchestrator.core.trial import Report

_LOSSES = ("val/loss", "train/loss")
_EXPLODED_RATIO = 3.0
_EXPLODED_MARGIN = 1.0


def diverged(metrics: Mapping[str, float], history: Sequence[Report]) -> str | None:
    """Return why a trial has diverged, in words for a person, or None if it has not.

    A trial has diverged if a loss is not finite, or if both losses exploded: each above three times the smallest it
    ever was, plus 1 nat. Both, because validation loss alone also triples when an overfitting classifier grows sure of
    its mistakes; that trial is healthy up to its best report, and its training loss stays low. The margin of 1 nat
    keeps losses near zero (0.01, then 0.05) from counting, where a ratio means nothing.

    Args:
        metrics: the newest report's metrics; a loss that is absent is not judged.
        history: the trial's reports; whether the newest is among them makes no difference.
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
    """Return why a trial is overfitting, in words for a person, or None if it is not.

    It is if validation loss rose at each of the last ``patience`` reports while training loss, over the same reports,
    fell. Training loss is compared end to end: near zero it wavers from report to report.

    Args:
        history: the trial's reports by ascending samples, the newest included.
        patience: how many rises in a row it takes, at least 1.

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


def _smallest(history: Sequence[Report], name: str) -> float:
    """Return the smallest finite value of a metric, infinity if there is none."""
    values = (report.metrics.get(name, math.inf) for report in history)
    return min((value for value in values if math.isfinite(value)), default=math.inf)
