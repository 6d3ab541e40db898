"""The probability that an untried point satisfies the constraints of a search: one Gaussian process each.

An *excess* is the distance of a metric from its allowed range: at most 0 inside the range.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from orchestrator.core.sweeps.goal import Constraint, Goal
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.search.surrogate.gaussian_process import GaussianProcess

Array = NDArray[np.float64]

FEWEST_MEASURED = 2
"""Measured trials before a constraint is modelled; with fewer, every point is expected to satisfy it."""
WIDEST = 3.0
"""Excesses are limited to so many times their median distance from the bound, because diverged trials would dominate
the scale. The sign stays."""
_LEAST_SCALE = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Excess:
    """The expected excess of one trial at the end of its training.

    Attributes:
        value: the excess; NaN: not measured yet, or the trial failed.
        variance: variance of the change expected until the end of the training; 0 for a complete trial.
    """

    value: float
    variance: float = 0.0


def expected_excesses(goal: Goal, records: Sequence[TrialRecord]) -> dict[int, tuple[Excess, ...]]:
    """Return the expected excess of every trial and constraint, by the trial's number.

    A complete trial has the excess at its best checkpoint. Every other trial has the one at its best checkpoint so far,
    plus the mean change of the complete trials from the same report point to their end: the overfit gap, for example,
    grows with training. With fewer than two such trials, the mean change is 0 and its variance that of all known
    excesses. A metric measured only when a trial ends has no change, and is unknown before. A reported metric which is
    measured again after the search keeps its change, so an extended search sees the same excesses.
    """
    columns = [_column(goal, each, records) for each in goal.constraints]
    return {record.number: tuple(row) for record, row in zip(records, zip(*columns, strict=True), strict=False)}


def _column(goal: Goal, constraint: Constraint, records: Sequence[TrialRecord]) -> list[Excess]:
    complete = [record for record in records if record.state is TrialState.COMPLETE]
    known = np.array([_excess(goal, constraint, record) for record in records])
    spread = float(known[np.isfinite(known)].var()) if np.isfinite(known).any() else 0.0
    changes: dict[int, tuple[float, float]] = {}
    column = []
    for record, value in zip(records, known, strict=True):
        reported = any(constraint.name in report.metrics for report in record.reports)
        if record.state is TrialState.COMPLETE or not reported:
            column.append(Excess(value=float(value)))
            continue
        if record.samples not in changes:
            changes[record.samples] = _change(goal, constraint, complete, record.samples, spread)
        change, variance = changes[record.samples]
        column.append(Excess(value=float(value) + change, variance=variance))
    return column


def _change(
    goal: Goal, constraint: Constraint, complete: Sequence[TrialRecord], samples: int, spread: float
) -> tuple[float, float]:
    """Return mean and variance of the change of an excess from a report point to the end of the training."""
    changes = np.array(
        [_excess(goal, constraint, one) - _excess(goal, constraint, one, until=samples) for one in complete]
    )
    changes = changes[np.isfinite(changes)]
    if len(changes) < 2:
        return 0.0, spread
    return float(changes.mean()), float(changes.var(ddof=1))


def _excess(goal: Goal, constraint: Constraint, record: TrialRecord, until: int | None = None) -> float:
    """Return the excess at the best checkpoint; infinite for NaN, NaN without a measurement."""
    best = None if record.state is TrialState.FAIL else record.best(goal, until=until)
    if best is None:
        return math.nan
    measured = best.metrics if until is not None else {**record.reported_at_best(goal), **best.metrics}
    return constraint.excess(measured[constraint.name]) if constraint.name in measured else math.nan


def probability_within(features: Array, excesses: Sequence[Sequence[Excess]], untried: Array) -> Array:
    """Return for each untried point the probability that a trial there satisfies all constraints, shape (m,).

    It is the product over the constraints (Gardner et al. 2014, "Bayesian Optimization with Inequality Constraints").

    Args:
        features: features of the tried points, shape (n, number of features).
        excesses: excesses of the tried points, shape (n, number of constraints).
        untried: features of the untried points, shape (m, number of features).
    """
    product = np.ones(len(untried))
    for column in zip(*excesses, strict=True):
        values = np.array([each.value for each in column])
        measured = ~np.isnan(values)
        if measured.sum() >= FEWEST_MEASURED:
            variances = np.array([each.variance for each in column])[measured]
            product *= _probability(features[measured], _limited(values[measured]), variances, untried)
    return product


def _probability(features: Array, values: Array, variances: Array, untried: Array) -> Array:
    mean, scale = float(values.mean()), max(float(values.std()), _LEAST_SCALE)
    process = GaussianProcess(features, (values - mean) / scale, variances / scale**2)
    means, deviations = process.predict(untried)
    probability: Array = norm.cdf((-mean / scale - means) / np.hypot(deviations, process.noise))
    return probability


def _limited(values: Array) -> Array:
    distances = np.abs(values[np.isfinite(values)])
    widest = WIDEST * float(np.median(distances)) if len(distances) else 1.0
    if widest == 0.0:
        widest = float(distances.max()) or 1.0
    return np.clip(values, -widest, widest)
