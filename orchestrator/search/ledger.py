"""The ledger: the durable truth about every sweep, trial, report and decision.

It knows neither Optuna nor the tracker; the study and the runs are views that can be brought to what it says.
"""

from typing import Self

from orchestrator.search.database import default_url
from orchestrator.search.driver_lock import HEARTBEAT_S
from orchestrator.search.sweep_store import SweepStore
from orchestrator.search.trial_store import TrialStore


class Ledger(SweepStore, TrialStore):
    """All of the ledger in one object. It may be used from several threads, and from several processes at once."""

    @classmethod
    def open(cls, url: str | None = None, *, heartbeat_s: float = HEARTBEAT_S) -> Self:
        """Open the ledger at an SQLAlchemy URL, and make its tables if it is new; None is the default place.

        Raises:
            LedgerError: the database cannot be opened, or a later version of Loratory wrote it.
        """
        return cls(url or default_url(), heartbeat_s=heartbeat_s)
