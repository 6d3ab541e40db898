"""Constraints in Optuna's terms: an excess per constraint and ended trial, at most 0 inside the range."""

import math
from collections.abc import Mapping

from optuna.trial import FrozenTrial

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.trials.trial import TrialRecord

PREFIX = "constraints:"
"""Prefix of the system attributes in which ``optuna.Trial.set_constraint`` stores excesses."""
LARGE = 1e6
"""Excess of a metric that is not finite or was not measured."""


def excesses_of(record: TrialRecord, metric: Metric) -> Mapping[str, float]:
    """Return the excess of each constraint at the best checkpoint of an ended trial, by the metric's name."""
    if not isinstance(metric, Goal):
        return {}
    values = {**record.final, **record.reported_at_best(metric)}
    excesses = {each.name: each.excess(values.get(each.name, math.nan)) for each in metric.constraints}
    return {name: excess if math.isfinite(excess) else LARGE for name, excess in excesses.items()}


def violation(trial: FrozenTrial) -> float:
    """Return the sum of the stored excesses of a trial of the study; 0 if it satisfies all constraints."""
    return sum(excess for excess in trial.constraints.values() if excess > 0)
