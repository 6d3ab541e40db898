"""Count the tokens and failures of a sweep as its records change, and say when it must stop."""

from collections import Counter

from orchestrator.core.sweeps.policy import Budget
from orchestrator.core.trials.trial import TrialRecord, TrialState

FEWEST_FAILURES = 5
"""A sweep with fewer failed trials is never stopped for failing."""


class Spending:
    """The tokens and failures of one sweep. Every call takes constant time."""

    def __init__(self, budget: Budget) -> None:
        """Start at zero."""
        self._budget = budget
        self._tokens = 0.0
        self._reporting = 0
        self._ended = 0
        self._failures: Counter[str] = Counter()

    @property
    def tokens(self) -> int:
        """Training tokens of all trials."""
        return int(self._tokens)

    def use_budget(self, budget: Budget) -> None:
        """Compare with another budget from now on."""
        self._budget = budget

    def update(self, before: TrialRecord | None, after: TrialRecord) -> None:
        """Count the change of a trial from ``before`` to ``after``.

        ``before`` is None for a new trial and for one of an earlier driver: its tokens count, its failure does not.
        """
        self._tokens += _tokens(after) - _tokens(before)
        if after.confirms is not None:
            return  # a failed training with a fresh seed is a result of the search, not a reason to give it up
        self._reporting += _is_reporting(after) - _is_reporting(before)
        if before is None or before.ended or not after.ended:
            return
        self._ended += 1
        if after.state is TrialState.FAIL:
            self._failures[after.reason or "no reason given"] += 1

    def out_of_budget(self, elapsed_s: float) -> str | None:
        """Return the exceeded limit of time or tokens in words, or None; see ``Budget.spent``."""
        return self._budget.spent(elapsed_s, self.tokens)

    def failing(self) -> str | None:
        """Return why the sweep is failing, or None. It fails if at least five trials failed, and more than half.

        The share is over the trials that ended in this driver or have reported, because diverging trials end long
        before good ones. A full disk or a wrong setting fails every trial.
        """
        failed, judged = self._failures.total(), self._ended + self._reporting
        if failed < FEWEST_FAILURES or 2 * failed <= judged:
            return None
        reason, times = self._failures.most_common(1)[0]
        return f"{failed} of {judged} trials failed; {times} of them: {reason}"


def _tokens(record: TrialRecord | None) -> float:
    """Return the real training tokens of a trial up to its newest report."""
    return record.reports[-1].metrics.get("progress/tokens", 0.0) if record is not None and record.reports else 0.0


def _is_reporting(record: TrialRecord | None) -> bool:
    return record is not None and not record.ended and bool(record.reports)
