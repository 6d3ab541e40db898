"""The sweeps of the ledger."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.core.errors import LedgerError, UserError
from orchestrator.core.sweeps.facts import FactChanges, facts_from_json, facts_to_json
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.ledger.connection import retry_on_disconnect
from orchestrator.ledger.database import Database
from orchestrator.ledger.driver_store import DriverStore
from orchestrator.ledger.tables import sweeps, trials


class SweepStore:
    """Sweeps by id, by name, or by reference (``NAME`` or ``NAME#3``)."""

    def __init__(self, database: Database, drivers: DriverStore) -> None:
        self._database = database
        self._drivers = drivers

    def create(self, name: str, generation: int, fingerprint: Mapping[str, Any], spec_text: str) -> SweepRecord:
        """Store a new sweep and return it. It is INTERRUPTED until its driver sets RUNNING: preparation may fail.

        Raises:
            LedgerError: another process has created the same generation.
        """
        values = {"name": name, "generation": generation, "fingerprint": fingerprint, "spec_text": spec_text}
        values |= {"status": SweepStatus.INTERRUPTED, "facts": {}, "created_at": time.time(), "elapsed_s": 0.0}
        try:
            with self._database.write() as connection:
                query = insert(sweeps).values(**values).returning(sweeps.c.id)
                sweep_id = int(connection.execute(query).scalar_one())
        except IntegrityError as error:
            raise LedgerError(f"another process has just opened {name}#{generation}; run the command again") from error
        return self.get(sweep_id)

    def get(self, sweep_id: int) -> SweepRecord:
        """Return one sweep by its id."""
        with self._database.read() as connection:
            row = connection.execute(select(sweeps).where(sweeps.c.id == sweep_id)).one()
        return _record(row)

    def all(self) -> tuple[SweepRecord, ...]:
        """Return all sweeps, the oldest first."""
        with self._database.read() as connection:
            return tuple(_record(row) for row in connection.execute(select(sweeps).order_by(sweeps.c.id)))

    def newest(self, name: str) -> SweepRecord | None:
        """Return the newest sweep of a name, or None."""
        query = select(sweeps).where(sweeps.c.name == name).order_by(sweeps.c.generation.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _record(row)

    def find(self, reference: str) -> SweepRecord:
        """Return the sweep of a reference; ``NAME`` alone means the newest generation.

        Raises:
            UserError: there is no such sweep; the message lists the sweeps of the ledger.
        """
        name, _, generation = reference.partition("#")
        known = self.all()
        wanted = [sweep for sweep in known if sweep.name == name and generation in {"", str(sweep.generation)}]
        if not wanted:
            names = ", ".join(sweep.reference for sweep in known) or "none yet"
            raise UserError(f"there is no sweep {reference}; sweeps: {names}")
        return wanted[-1]

    def has_trials(self, sweep_id: int) -> bool:
        """Return whether a sweep has any trial."""
        with self._database.read() as connection:
            return connection.execute(select(trials.c.number).where(trials.c.sweep_id == sweep_id)).first() is not None

    def with_live_status(self, sweep: SweepRecord) -> SweepRecord:
        """Return the sweep, INTERRUPTED if it is stored as RUNNING and its driver was killed."""
        dead = sweep.status is SweepStatus.RUNNING and self._drivers.live(sweep.id) is None
        return replace(sweep, status=SweepStatus.INTERRUPTED) if dead else sweep

    @retry_on_disconnect
    def update(
        self,
        sweep_id: int,
        *,
        status: SweepStatus | None = None,
        spec_text: str | None = None,
        facts: FactChanges | None = None,
        experiment_id: str | None = None,
        run_id: str | None = None,
    ) -> SweepRecord:
        """Set the given values and return the sweep; ``facts`` replace the stored facts of the same names."""
        given = {"status": status, "spec_text": spec_text, "experiment_id": experiment_id, "run_id": run_id}
        values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        with self._drivers.write_sweep(sweep_id) as connection:
            if facts is not None:
                stored = connection.execute(select(sweeps.c.facts).where(sweeps.c.id == sweep_id)).scalar_one()
                values["facts"] = {**stored, **facts_to_json(facts)}
            if values:
                connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(**values))
        return self.get(sweep_id)

    def delete(self, sweep_id: int) -> None:
        """Remove the rows of a sweep and of its trials. Its study, its files and its runs in the tracker stay."""
        with self._database.write() as connection:
            connection.execute(delete(sweeps).where(sweeps.c.id == sweep_id))


def _record(row: Row[Any]) -> SweepRecord:
    values = row._asdict()
    return SweepRecord(**values | {"status": SweepStatus(values["status"]), "facts": facts_from_json(values["facts"])})
