"""A ledger of one sweep in the memory of its process, for replays: a report costs microseconds instead of a commit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from orchestrator.core.errors import LedgerError
from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.core.trials.trial import Decision, Outcome, Report, TrialRecord
from orchestrator.ledger.database import Database


class TrialLog(Protocol):
    """The trials of the ledger as the coordinator needs them; ``TrialStore`` says more about each method."""

    def all(self, sweep_id: int, /) -> tuple[TrialRecord, ...]:
        """Return all trials of a sweep by ascending number."""

    def study_numbers(self, sweep_id: int, /) -> dict[int, int]:
        """Return the number in the Optuna study of each trial of the search."""

    def add(self, sweep_id: int, record: TrialRecord, study_number: int | None, /) -> None:
        """Open a trial."""

    def add_report(self, sweep_id: int, report: Report, /) -> bool:
        """Commit a report; return False if the trial already has a report at this point."""

    def add_decisions(self, sweep_id: int, new_decisions: Sequence[Decision], /) -> None:
        """Commit decisions."""

    def end(
        self, sweep_id: int, number: int, outcome: Outcome, /, *, final: Mapping[str, float], ended_at: float
    ) -> None:
        """Give a trial its final state."""


class RequestLog(Protocol):
    """The requests of users as the coordinator needs them; see ``RequestStore``."""

    def all(self, sweep_id: int, /) -> tuple[ControlRequest, ...]:
        """Return all requests of a sweep in their order."""

    def unanswered(self, sweep_id: int, /) -> tuple[ControlRequest, ...]:
        """Return the requests without an answer in their order."""

    def held_since(self, sweep_id: int, /) -> float:
        """Return when this process took the sweep, in seconds since the epoch; 0 if it does not hold it."""

    def answer(self, sweep_id: int, request: ControlRequest, /) -> None:
        """Store the answer of an answered request."""


class SweepLedger(Protocol):
    """The part of a ledger that a coordinator needs.

    Attributes:
        trials: the trials.
        requests: the requests of users.
        study_database: the database of the Optuna study; None: the study is in memory too.
    """

    @property
    def trials(self) -> TrialLog: ...

    @property
    def requests(self) -> RequestLog: ...

    @property
    def study_database(self) -> Database | None: ...


class MemoryTrials:
    """The trials of one sweep; see ``TrialLog``."""

    def __init__(self) -> None:
        self._records: dict[int, TrialRecord] = {}
        self._study_numbers: dict[int, int] = {}

    def all(self, _sweep_id: int, /) -> tuple[TrialRecord, ...]:
        """Return all trials by ascending number."""
        return tuple(self._records.values())

    def study_numbers(self, _sweep_id: int, /) -> dict[int, int]:
        """Return the number in the Optuna study of each trial of the search."""
        return dict(self._study_numbers)

    def add(self, _sweep_id: int, record: TrialRecord, study_number: int | None, /) -> None:
        """Open a trial."""
        if record.number != len(self._records):
            raise LedgerError(f"trial {record.number} cannot be opened after {len(self._records)} trials")
        self._records[record.number] = record
        if study_number is not None:
            self._study_numbers[record.number] = study_number

    def add_report(self, _sweep_id: int, report: Report, /) -> bool:
        """Add a report; return False if the trial already has a report at this point."""
        record = self._records[report.trial]
        if any(known.nominal_samples == report.nominal_samples for known in record.reports):
            return False
        self._records[report.trial] = replace(record, reports=(*record.reports, report))
        return True

    def add_decisions(self, _sweep_id: int, new_decisions: Sequence[Decision], /) -> None:
        """Add decisions; a decision added before stays."""
        for decision in new_decisions:
            record = self._records[decision.trial]
            decisions = {decision.nominal_samples: decision, **record.decisions}
            self._records[decision.trial] = replace(record, decisions=decisions)

    def end(
        self, _sweep_id: int, number: int, outcome: Outcome, /, *, final: Mapping[str, float], ended_at: float
    ) -> None:
        """Give a trial its final state."""
        self._records[number] = replace(
            self._records[number], state=outcome.state, reason=outcome.reason, final=dict(final), ended_at=ended_at
        )


class NoRequests:
    """No person sends requests to a replay; see ``RequestLog``."""

    def all(self, _sweep_id: int, /) -> tuple[ControlRequest, ...]:
        """Return no request."""
        return ()

    def unanswered(self, _sweep_id: int, /) -> tuple[ControlRequest, ...]:
        """Return no request."""
        return ()

    def held_since(self, _sweep_id: int, /) -> float:
        """Return 0: a sweep in memory has no driver."""
        return 0.0

    def answer(self, _sweep_id: int, request: ControlRequest, /) -> None:
        """Raise ``LedgerError``: there is nothing to answer."""
        raise LedgerError(f"request {request.id} is not of this sweep")


class MemoryLedger:
    """A ledger of one sweep; see ``SweepLedger``. Nothing is written to disk."""

    study_database: Database | None = None

    def __init__(self) -> None:
        self.trials = MemoryTrials()
        self.requests = NoRequests()
