"""Expected final costs of trials from their reports so far: extrapolation by regression on the ended trials.

A *cost* is a metric's sort key: lower is better.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.metric import Metric
from orchestrator.core.trials.trial import TrialRecord, TrialState

Array = NDArray[np.float64]

EARLY_CORRELATION = 0.5
"""Correlation of a first early value with the final one before any trial is complete: benchmarks/tables/README.md."""
PRIOR_TRIALS = 3.0
"""Weight of the prior in the regression, in trials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedFinal:
    """The expected final cost of one trial.

    Attributes:
        trial: the trial's number.
        cost: expected cost at the trial's last report point; the measured one of a complete trial.
        variance: variance of the extrapolation, at least 0; 0 for a complete trial.
    """

    trial: int
    cost: float
    variance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """The learning curves of a sweep.

    Attributes:
        metric: the searched metric, which is extrapolated.
        compared: the metric compared at rungs, from which it is extrapolated.
        end: samples of the longest trial.
        records: all trials; failed ones and those without a value are ignored.
    """

    metric: Metric
    compared: Metric
    end: int
    records: Sequence[TrialRecord]

    def expected_finals(self) -> tuple[ExpectedFinal, ...]:
        """Return the expected final cost of every trial with a value, by ascending number.

        The final cost F of a trial stopped at s samples is predicted from its compared cost v(s). For the complete
        trials, F = a + b · v(s) + e. b and the variance of e are posterior means: the prior, worth ``PRIOR_TRIALS``
        trials, is a correlation between v(s) and F which grows with s from ``EARLY_CORRELATION`` to 1. With fewer than
        two complete trials, the present costs at s take the place of F: the improvement still to come is the same for
        all trials with s samples, and does not change their order.
        """
        trials = sorted(self._scored(self.records), key=lambda record: record.number)
        unfinished = {record.samples for record in trials if record.state is not TrialState.COMPLETE}
        regressions = {at: self._regression(at, trials) for at in unfinished}
        finals = []
        for record in trials:
            cost, variance = self._cost(record), 0.0
            if record.state is not TrialState.COMPLETE:
                regression = regressions[record.samples]
                cost, variance = regression.cost(self._early(record, record.samples)), regression.variance
            finals.append(ExpectedFinal(trial=record.number, cost=cost, variance=variance))
        return tuple(finals)

    def _scored(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        return [
            record
            for record in records
            if record.state is not TrialState.FAIL
            and np.isfinite(self._cost(record))
            and (record.state is TrialState.COMPLETE or np.isfinite(self._early(record, record.samples)))
        ]

    def _regression(self, at: int, trials: Sequence[TrialRecord]) -> "_Regression":
        """Return the regression for trials with ``at`` samples, from the trials with finite costs at that place."""
        known = [record for record in trials if np.isfinite(self._early(record, at))]
        pairs = [
            (self._early(record, at), self._cost(record)) for record in known if record.state is TrialState.COMPLETE
        ]
        if len(pairs) < 2:
            peers = [(self._early(record, at), self._cost(record, at)) for record in known if record.samples >= at]
            pairs = [pair for pair in peers if np.isfinite(pair[1])]
        early, finals = np.array(pairs).T
        return _fitted(early, finals, EARLY_CORRELATION + (1 - EARLY_CORRELATION) * min(1.0, at / self.end))

    def _cost(self, record: TrialRecord, until: int | None = None) -> float:
        return self.metric.sort_key(record.score(self.metric, until=until))

    def _early(self, record: TrialRecord, at: int) -> float:
        return self.compared.sort_key(record.score(self.compared, until=at))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Regression:
    """Expected final costs by early costs.

    Attributes:
        slope: change of the final cost with the early one, at least 0.
        early: mean of the early costs.
        final: mean of the final costs.
        variance: variance of one predicted final cost.
    """

    slope: float
    early: float
    final: float
    variance: float

    def cost(self, early: float) -> float:
        """Return the expected final cost of a trial."""
        return self.final + self.slope * (early - self.early)


def _fitted(early: Array, finals: Array, correlation: float) -> _Regression:
    """Return the regression over known trials.

    Args:
        early: early costs of the known trials, shape (n,), n >= 1.
        finals: their final costs, shape (n,).
        correlation: correlation of both by the prior, in [0, 1].
    """
    n, spread, width = len(early), float(finals.std()), float(early.std())
    middle, mean = float(early.mean()), float(finals.mean())
    if n < 2 or width == 0.0:
        return _Regression(slope=0.0, early=middle, final=mean, variance=spread**2)
    x, y = early - middle, finals - mean
    slope = (PRIOR_TRIALS * correlation * spread * width + float(x @ y)) / (PRIOR_TRIALS * width**2 + float(x @ x))
    slope = max(0.0, slope)
    residuals = y - slope * x
    squares = PRIOR_TRIALS * spread**2 * (1 - correlation**2) + float(residuals @ residuals)
    variance = squares / (PRIOR_TRIALS + n) * (1 + 1 / n)
    return _Regression(slope=slope, early=middle, final=mean, variance=variance)
