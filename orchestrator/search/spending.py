"""What a sweep has spent, and whether it may go on: pure functions of its records."""

from collections import Counter
from collections.abc import Collection, Sequence

from orchestrator.core.policy import Budget
from orchestrator.core.trial import TrialRecord, TrialState

FEWEST_FAILURES = 5
"""Failed trials below which a sweep is never stopped for failing."""


def tokens_spent(records: Sequence[TrialRecord]) -> int:
    """Return the real training tokens of all trials, as far as they have reported."""
    return int(sum(r.reports[-1].metrics.get("progress/tokens", 0.0) for r in records if r.reports))


def out_of_budget(budget: Budget, records: Sequence[TrialRecord], elapsed_s: float) -> str | None:
    """Return which bound on time or tokens is reached, in words, or None. A bound on trials stops no running trial."""
    if budget.wall_time_s is not None and elapsed_s >= budget.wall_time_s:
        return f"the wall time of {budget.wall_time_s / 60:g} min is spent"
    if budget.tokens is not None and (spent := tokens_spent(records)) >= budget.tokens:
        return f"the budget of {budget.tokens:,} training tokens is spent ({spent:,})"
    return None


def failing(records: Collection[TrialRecord]) -> str | None:
    """Return why it is pointless to go on, or None: at least five trials failed, and they are more than half of all.

    All are those that ended or have reported: trials that diverge end long before those that do well.

    A full disk or a wrong setting fails every trial; without this a night of search ends as a list of failures.
    """
    ended = [record for record in records if record.ended or record.reports]
    failed = [record.reason or "no reason given" for record in ended if record.state is TrialState.FAIL]
    if len(failed) < FEWEST_FAILURES or 2 * len(failed) <= len(ended):
        return None
    reason, times = Counter(failed).most_common(1)[0]
    return f"{len(failed)} of {len(ended)} trials failed; {times} of them: {reason}"
