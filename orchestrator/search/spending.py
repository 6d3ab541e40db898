"""What a sweep has spent, and whether it may go on, counted as its records change."""

from collections import Counter

from orchestrator.core.policy import Budget
from orchestrator.core.trial import TrialRecord, TrialState

FEWEST_FAILURES = 5
"""Failed trials below which a sweep is never stopped for failing."""


class Spending:
    """The tokens and the failures of one sweep. A question costs the same however many trials there have been."""

    def __init__(self, budget: Budget) -> None:
        """Start with nothing spent."""
        self._budget = budget
        self._tokens = 0.0
        self._under_way = 0
        self._ended = 0
        self._failures: Counter[str] = Counter()

    def take(self, before: TrialRecord | None, after: TrialRecord) -> None:
        """Count what has become of a trial since ``before``.

        Without a ``before`` it is new, or was left by an earlier driver: then its tokens count, its failure does not.
        """
        self._tokens += _tokens(after) - _tokens(before)
        self._under_way += _is_under_way(after) - _is_under_way(before)
        if before is None or before.ended or not after.ended:
            return
        self._ended += 1
        if after.state is TrialState.FAIL:
            self._failures[after.reason or "no reason given"] += 1

    def out_of_budget(self, elapsed_s: float) -> str | None:
        """Return which bound on time or tokens is reached, in words, or None. One on trials stops no running trial."""
        budget = self._budget
        if budget.wall_time_s is not None and elapsed_s >= budget.wall_time_s:
            return f"the wall time of {budget.wall_time_s / 60:g} min is spent"
        if budget.tokens is not None and (spent := int(self._tokens)) >= budget.tokens:
            return f"the budget of {budget.tokens:,} training tokens is spent ({spent:,})"
        return None

    def failing(self) -> str | None:
        """Return why it is pointless to go on, or None: at least five trials failed, and they are more than half.

        Of those, that is, that ended in this driver or have reported: trials that diverge end long before those that
        do well. A full disk or a wrong setting fails every trial; without this a night of search ends as a list of
        failures.
        """
        failed, judged = self._failures.total(), self._ended + self._under_way
        if failed < FEWEST_FAILURES or 2 * failed <= judged:
            return None
        reason, times = self._failures.most_common(1)[0]
        return f"{failed} of {judged} trials failed; {times} of them: {reason}"


def _tokens(record: TrialRecord | None) -> float:
    """Return the real training tokens of a trial, as far as it has reported."""
    return record.reports[-1].metrics.get("progress/tokens", 0.0) if record is not None and record.reports else 0.0


def _is_under_way(record: TrialRecord | None) -> bool:
    return record is not None and not record.ended and bool(record.reports)
