"""How a sweep tells what happens: observers hear events in the driver, after each was committed to the ledger."""

from typing import Protocol

from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import Decision, Report, TrialRecord


class SweepObserver(Protocol):
    """Hears of every committed event. An observer must return at once and must not raise."""

    def prepared(self, plan: EnginePlan) -> None:
        """The data is read and the engines are planned; trials follow."""

    def trial_started(self, trial: TrialRecord) -> None:
        """A trial was opened, or taken up again."""

    def reported(self, trial: TrialRecord, report: Report) -> None:
        """A report was committed; ``trial`` already holds it."""

    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        """A decision was committed."""

    def trial_ended(self, trial: TrialRecord) -> None:
        """A trial has reached a final state, and its final metrics are in the record."""
