"""One sweep's trials in memory, kept up to date at the cost of the changed ones."""

from orchestrator.core.trials.trial import TrialRecord
from orchestrator.ledger.trial_store import Mark, TrialStore


class TrialCache:
    """The trials of one sweep. Each refresh reads only the trials changed since the one before."""

    def __init__(self, trials: TrialStore, sweep_id: int) -> None:
        self._trials = trials
        self._sweep_id = sweep_id
        self._marks: dict[int, Mark] = {}
        self._records: dict[int, TrialRecord] = {}

    def refresh(self) -> tuple[TrialRecord, ...]:
        """Return all trials by ascending number as the ledger holds them now; an unchanged one is the same object."""
        for number, (mark, record) in self._trials.changed(self._sweep_id, self._marks).items():
            self._marks[number], self._records[number] = mark, record
        return tuple(self._records.values())
