"""What the reconciler needs of the ledger: records to read, and a cursor for each run to keep."""

from collections.abc import Mapping
from typing import Any, Protocol

from orchestrator.core.sweep import SweepRecord
from orchestrator.core.trial import TrialRecord


class SyncStore(Protocol):
    """One sweep in the ledger, as the reconciler sees it. A cursor is plain JSON that only the reconciler reads."""

    def sweep(self) -> SweepRecord:
        """Return the sweep as it is now."""

    def trials(self) -> tuple[TrialRecord, ...]:
        """Return all its trials by ascending number, as they are now; one that has not changed is the same object."""

    def cursor(self, number: int | None) -> dict[str, Any]:
        """Return what was saved for a trial, or for the sweep itself (None); empty if nothing was."""

    def save_cursor(self, number: int | None, data: Mapping[str, Any]) -> None:
        """Save how far the run of a trial, or of the sweep itself, has been written."""

    def set_sweep_run(self, experiment_id: str, run_id: str) -> None:
        """Save the ids of the experiment and of the parent run."""

    def set_trial_run(self, number: int, run_id: str) -> None:
        """Save the id of a trial's run."""


class LedgerLike(Protocol):
    """The part of the ledger that ``LedgerStore`` calls."""

    def sweep(self, sweep_id: int) -> SweepRecord: ...

    def news(self, sweep_id: int, seen: Mapping[int, Any]) -> dict[int, tuple[Any, TrialRecord]]: ...

    def cursor(self, sweep_id: int, number: int | None = None) -> dict[str, Any]: ...

    def save_cursor(self, sweep_id: int, number: int | None, data: Mapping[str, Any]) -> None: ...

    def update_sweep(
        self, sweep_id: int, *, experiment_id: str | None = None, run_id: str | None = None
    ) -> SweepRecord: ...

    def set_trial_run(self, sweep_id: int, number: int, run_id: str) -> None: ...


class LedgerStore:
    """One sweep of a ledger as a ``SyncStore``. It keeps the trials, and reads those again that have changed."""

    def __init__(self, ledger: LedgerLike, sweep_id: int) -> None:
        self._ledger = ledger
        self._id = sweep_id
        self._marks: dict[int, Any] = {}
        self._trials: dict[int, TrialRecord] = {}

    def sweep(self) -> SweepRecord:
        return self._ledger.sweep(self._id)

    def trials(self) -> tuple[TrialRecord, ...]:
        for number, (mark, record) in self._ledger.news(self._id, self._marks).items():
            self._marks[number], self._trials[number] = mark, record
        return tuple(self._trials.values())

    def cursor(self, number: int | None) -> dict[str, Any]:
        return self._ledger.cursor(self._id, number)

    def save_cursor(self, number: int | None, data: Mapping[str, Any]) -> None:
        self._ledger.save_cursor(self._id, number, data)

    def set_sweep_run(self, experiment_id: str, run_id: str) -> None:
        self._ledger.update_sweep(self._id, experiment_id=experiment_id, run_id=run_id)

    def set_trial_run(self, number: int, run_id: str) -> None:
        self._ledger.set_trial_run(self._id, number, run_id)
