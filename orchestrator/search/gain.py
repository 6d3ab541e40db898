"""The expected gain of a further trial: whether a search should continue."""

from collections.abc import Collection, Sequence
from itertools import islice

import numpy as np

from orchestrator.core.metric import Metric
from orchestrator.core.seeds import derive_seed
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.search.plan import SearchPlan
from orchestrator.search.surrogate.encoding import Encoding
from orchestrator.search.surrogate.model import best_point
from orchestrator.search.surrogate.observations import observations

FEWEST_TRIALS = 8
"""Trials before the first check."""
FEWEST_COMPLETE = 3
"""Complete trials among them: the finals of other trials are extrapolations."""
EVERY = 2
"""Fewest trials from one check to the next; later checks are an eighth of the trials apart."""
SMALL = 0.2
"""Fraction of the noise between trials; a smaller expected improvement ends the search. Chosen by replay."""


class ExpectedGain:
    """Checks the expected gain of the best untried point.

    A check looks at the first n trials, once all of them have ended: n = 8, 10, 12 to 24, then in larger steps. Records
    of ended trials do not change, so a check has the same result at any later time, in any driver. No result has to be
    stored.
    """

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._encoding = Encoding(plan.space)
        self._next = FEWEST_TRIALS
        self._reason: str | None = None

    def too_small(self, records: Collection[TrialRecord]) -> str | None:
        """Return why the search should end, or None if it should continue.

        Args:
            records: the search's trials by ascending number.
        """
        while self._reason is None and self._next <= len(records):
            first = [*islice(records, self._next)]
            if not all(record.ended for record in first):
                break
            self._reason = self._check(first)
            self._next += max(EVERY, self._next // 8)
        return self._reason

    def _check(self, records: list[TrialRecord]) -> str | None:
        if sum(record.state is TrialState.COMPLETE for record in records) < FEWEST_COMPLETE:
            return None
        observed = observations(self._plan, records)
        if not self._encoding.size or sum(one.is_known for one in observed) < FEWEST_COMPLETE:
            return None
        best = best_point(self._encoding, observed, derive_seed(self._plan.seed, "gain", len(records)), {})
        noise = max(best.noise, fluctuation(records, self._plan.metric))
        if best.gain > 0.0 and best.gain >= SMALL * noise:  # both are 0 if all values are equal
            return None
        return (
            f"no further trial is expected to help: after {len(records)} trials, the best untried configuration is "
            f"expected to improve {self._plan.metric.name} by {best.gain:.2g}; values of one configuration vary by "
            f"{noise:.2g} (standard deviation). More training rows, another base model or a wider search.space "
            "may help more. To search further, remove budget.until"
        )


def fluctuation(records: Sequence[TrialRecord], metric: Metric) -> float:
    """Return the standard deviation of a metric around its trend in complete trials; 0 if they have too few reports.

    It is estimated from second differences of the reports in the second half of the training, in which a linear trend
    cancels: their variance is six times that of independent values. The median over trials counts.
    """
    deviations = []
    for record in records:
        values = np.array([report.metrics.get(metric.name, np.nan) for report in record.reports])
        late = values[len(values) // 2 :]
        if record.state is TrialState.COMPLETE and len(late) > 2 and np.isfinite(late).all():
            deviations.append(float(np.sqrt(np.mean(np.diff(late, n=2) ** 2) / 6)))
    return float(np.median(deviations)) if deviations else 0.0
