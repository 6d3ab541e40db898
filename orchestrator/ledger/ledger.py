"""The ledger: the durable truth about every sweep, trial, report and decision.

Optuna's study and the tracker's runs are views, which are brought to the ledger's content.
"""

from typing import Self

from orchestrator.ledger.connection import WAIT_S
from orchestrator.ledger.cursor_store import CursorStore
from orchestrator.ledger.database import Database, default_url
from orchestrator.ledger.driver_store import HEARTBEAT_S, DriverStore
from orchestrator.ledger.request_store import RequestStore
from orchestrator.ledger.sweep_store import SweepStore
from orchestrator.ledger.trial_store import TrialStore


class Ledger:
    """The stores over one database. Several threads and several processes may use it at once."""

    def __init__(self, database: Database, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.database = database
        self.drivers = DriverStore(database, heartbeat_s=heartbeat_s)
        self.sweeps = SweepStore(database, self.drivers)
        self.trials = TrialStore(database, self.drivers)
        self.requests = RequestStore(database, self.drivers)
        self.cursors = CursorStore(database)

    @property
    def study_database(self) -> Database:
        """The database with the Optuna studies: the ledger's own."""
        return self.database

    @classmethod
    def open(cls, url: str | None = None, *, heartbeat_s: float = HEARTBEAT_S, wait_s: float = WAIT_S) -> Self:
        """Open the ledger at an SQLAlchemy URL, and create its tables if it is new.

        Args:
            url: None for the default: ``LORATORY_DB``, or an SQLite file in the home folder.
            heartbeat_s: seconds between two heartbeats of a driver.
            wait_s: longest wait for another process's transaction, or for a restarted server, in seconds.

        Raises:
            LedgerError: the database cannot be opened, or a later version of Loratory wrote it.
        """
        return cls(Database(url or default_url(), wait_s=wait_s), heartbeat_s=heartbeat_s)

    def close(self) -> None:
        """Close the connections. A later call of any store opens new ones."""
        self.database.close()
