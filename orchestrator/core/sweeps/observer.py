"""The protocol of observers, which receive the events of a sweep in the driver, after their commit to the ledger."""

from typing import Protocol

from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import Decision, Report, TrialRecord


class SweepObserver(Protocol):
    """Receives every committed event. An observer must return at once and must not raise."""

    def prepared(self, plan: EnginePlan) -> None:
        """The data is read and the engines are planned; trials follow."""

    def trial_started(self, trial: TrialRecord) -> None:
        """A trial was started or resumed."""

    def reported(self, trial: TrialRecord, report: Report) -> None:
        """A report was committed; ``trial`` includes it."""

    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        """A decision was committed."""

    def trial_ended(self, trial: TrialRecord) -> None:
        """A trial has ended; ``trial`` includes its final metrics."""

    def answered(self, request: ControlRequest) -> None:
        """A user's request was answered; its effect follows. Observers may leave this event out."""
        del request  # a body, so that the method is not abstract
