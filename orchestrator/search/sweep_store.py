"""The part of the ledger that holds sweeps: opened, found, updated, deleted."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.core.errors import LedgerError, SweepChangedError, SweepLockedError, UserError
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.search import codec
from orchestrator.search.creation import steady
from orchestrator.search.database import folder_of, generations_on_disk, sweep_dir
from orchestrator.search.driver_lock import DriverLocks
from orchestrator.search.tables import cursors, sweeps, trials
from orchestrator.spec.fingerprint import differences

REMOVING = "removing"
"""The fact of a sweep whose removal has begun."""


class SweepStore(DriverLocks):
    """Sweeps, by id or by the name that a person gives."""

    def open_sweep(
        self,
        name: str,
        fingerprint: Mapping[str, Any],
        spec_text: str,
        *,
        fresh: bool = False,
        say: Callable[[str], None] = lambda _line: None,
    ) -> SweepRecord:
        """Return the newest sweep of that name to go on with, or a new one: the first, or the next if ``fresh``.

        A new one is INTERRUPTED until its driver says that it runs: its preparation may fail. One that got no trial
        holds nothing that a change could spoil, so a changed one takes its place. One whose removal was interrupted is
        removed to its end. A new one gets a generation that no other ledger's sweep has files of.

        Args:
            name: the sweep file's name for it.
            fingerprint: what may not change between two runs of the same sweep, as plain JSON.
            spec_text: the sweep file as it is now; a sweep that goes on keeps its own until its driver updates it.
            fresh: open a new generation beside the old ones.
            say: told, in a sentence each, what a person should know of the files that lie there already.

        Raises:
            SweepChangedError: the fingerprint differs from the stored one; the message holds each difference.
            SweepLockedError: it differs, and another driver is just preparing that sweep.
        """
        on_disk = generations_on_disk(name)  # before the ledger is read: a sweep has a row before it has a folder
        newest = self.newest(name)
        while newest is not None and newest.facts.get(REMOVING):
            say(f"{newest.reference} was being removed: its removal is completed now")
            self.remove_sweep(newest)
            on_disk = generations_on_disk(name)
            newest = self.newest(name)
        if newest is None or fresh:
            generation = 1 if newest is None else newest.generation + 1
            while generation in on_disk:
                say(
                    f"{folder_of(name, generation)} holds files of a sweep that this ledger does not know; they are "
                    f"not touched, and this sweep is {name}#{generation + 1}"
                )
                generation += 1
            return self._create_sweep(name, generation, fingerprint, spec_text)
        resumed = self.resumable(name, fingerprint)
        if resumed is None:
            self.delete_sweep(newest.id)
            return self._create_sweep(name, newest.generation, fingerprint, spec_text)
        return resumed

    def resumable(self, name: str, fingerprint: Mapping[str, Any]) -> SweepRecord | None:
        """Return the newest sweep of that name if ``open_sweep`` would go on with it; None if it would open a new one.

        Raises:
            SweepChangedError: as ``open_sweep``.
        """
        newest = self.newest(name)
        if newest is None or newest.facts.get(REMOVING):
            return None
        changes = differences(newest.fingerprint, codec.loads(codec.dumps(fingerprint)))
        if changes and self._has_trials(newest.id):
            raise SweepChangedError(
                f"{newest.reference} was started with another search; what differs:\n"
                + "".join(f"  {change}\n" for change in changes)
                + "Give the file a new name, or start a new sweep beside the old one with --fresh."
            )
        return None if changes else newest

    def continued(self, name: str) -> SweepRecord | None:
        """Return the sweep that ``open_sweep`` would go on with and must not change: the newest, if it has trials."""
        newest = self.newest(name)
        return newest if newest is not None and self._has_trials(newest.id) else None

    def sweep(self, sweep_id: int) -> SweepRecord:
        """Return one sweep by its id."""
        with self.read() as connection:
            row = connection.execute(select(sweeps).where(sweeps.c.id == sweep_id)).one()
        return _record(row)

    def settled(self, sweep: SweepRecord) -> SweepRecord:
        """Return the sweep with the status that it really has: one whose driver was killed still says that it runs."""
        dead = sweep.status is SweepStatus.RUNNING and self.driver(sweep.id) is None
        return replace(sweep, status=SweepStatus.INTERRUPTED) if dead else sweep

    def sweeps(self) -> tuple[SweepRecord, ...]:
        """Return all sweeps, the oldest first."""
        with self.read() as connection:
            return tuple(_record(row) for row in connection.execute(select(sweeps).order_by(sweeps.c.id)))

    def newest(self, name: str) -> SweepRecord | None:
        """Return the newest sweep of that name, or None."""
        query = select(sweeps).where(sweeps.c.name == name).order_by(sweeps.c.generation.desc()).limit(1)
        with self.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _record(row)

    def find(self, reference: str) -> SweepRecord:
        """Return the sweep that ``NAME`` (the newest) or ``NAME#3`` names.

        Raises:
            UserError: there is none; the message lists those that there are.
        """
        name, _, generation = reference.partition("#")
        known = self.sweeps()
        wanted = [sweep for sweep in known if sweep.name == name and generation in {"", str(sweep.generation)}]
        if not wanted:
            names = ", ".join(sweep.reference for sweep in known) or "none yet"
            raise UserError(f"there is no sweep {reference}; sweeps: {names}")
        return wanted[-1]

    @steady
    def update_sweep(
        self,
        sweep_id: int,
        *,
        status: SweepStatus | None = None,
        spec_text: str | None = None,
        facts: Mapping[str, Any] | None = None,
        experiment_id: str | None = None,
        run_id: str | None = None,
    ) -> SweepRecord:
        """Set what is given and return the sweep; ``facts`` are laid over those already stored, name by name."""
        given = {"status": status, "spec_text": spec_text, "experiment_id": experiment_id, "run_id": run_id}
        values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        with self.write_sweep(sweep_id) as connection:
            if facts is not None:
                stored = connection.execute(select(sweeps.c.facts).where(sweeps.c.id == sweep_id)).scalar_one()
                values["facts"] = {**stored, **facts}
            if values:
                connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(**values))
        return self.sweep(sweep_id)

    def delete_sweep(self, sweep_id: int) -> None:
        """Remove a sweep, its trials and its study; its files and its runs in the tracker stay.

        Raises:
            SweepLockedError: a driver is running it.
        """
        from orchestrator.search.study import delete_study

        driver = self.driver(sweep_id)
        if driver is not None:
            raise SweepLockedError(f"the sweep is being run by {driver}")
        delete_study(self.url, self.sweep(sweep_id).reference)
        with self.write() as connection:
            connection.execute(delete(sweeps).where(sweeps.c.id == sweep_id))

    def remove_sweep(self, sweep: SweepRecord) -> None:
        """Remove a sweep with its files. Each step can be repeated, so that a kill between any two leaves no half.

        A mark comes first, then the files, the study, and the rows last: nobody takes the files for another's.

        Raises:
            SweepLockedError: a driver is running it.
        """
        driver = self.driver(sweep.id)
        if driver is not None:
            raise SweepLockedError(f"the sweep is being run by {driver}")
        self.update_sweep(sweep.id, status=SweepStatus.INTERRUPTED, facts={REMOVING: True})
        folder = sweep_dir(sweep)
        if folder.exists():
            shutil.rmtree(folder)
        self.delete_sweep(sweep.id)

    def cursor(self, sweep_id: int, number: int | None = None) -> dict[str, Any]:
        """Return what ``save_cursor`` stored for a trial, or for the sweep itself; empty if nothing."""
        with self.read() as connection:
            row = connection.execute(select(cursors.c.data).where(*_place(sweep_id, number))).first()
        return {} if row is None else dict(row.data)

    @steady
    def save_cursor(self, sweep_id: int, number: int | None, data: Mapping[str, Any]) -> None:
        """Store how far somebody (the tracker) has got with a trial, or with the sweep itself; plain JSON."""
        with self.write() as connection:
            place = _place(sweep_id, number)
            changed = connection.execute(update(cursors).where(*place).values(data=data))
            if changed.rowcount == 0:
                connection.execute(insert(cursors).values(sweep_id=sweep_id, scope=_scope(number), data=data))

    def _has_trials(self, sweep_id: int) -> bool:
        with self.read() as connection:
            return connection.execute(select(trials.c.number).where(trials.c.sweep_id == sweep_id)).first() is not None

    def _create_sweep(self, name: str, generation: int, fingerprint: Mapping[str, Any], spec_text: str) -> SweepRecord:
        values = {"name": name, "generation": generation, "fingerprint": fingerprint, "spec_text": spec_text}
        values |= {"status": SweepStatus.INTERRUPTED, "facts": {}, "created_at": time.time(), "elapsed_s": 0.0}
        try:
            with self.write() as connection:
                key = _insert_sweep(connection, values)
        except IntegrityError as error:
            raise LedgerError(f"another process has just opened {name}#{generation}; run the command again") from error
        return self.sweep(key)


def _insert_sweep(connection: Connection, values: Mapping[str, Any]) -> int:
    return int(connection.execute(insert(sweeps).values(**values).returning(sweeps.c.id)).scalar_one())


def _scope(number: int | None) -> str:
    return "sweep" if number is None else str(number)


def _place(sweep_id: int, number: int | None) -> tuple[Any, Any]:
    return cursors.c.sweep_id == sweep_id, cursors.c.scope == _scope(number)


def _record(row: Row[Any]) -> SweepRecord:
    values = row._asdict()
    elapsed_s = values.pop("elapsed_s")
    return SweepRecord(
        **values | {"status": SweepStatus(values["status"]), "facts": values["facts"] | {"elapsed_s": elapsed_s}}
    )
