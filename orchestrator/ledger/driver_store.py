"""One driver at a time on a sweep: a row in the ledger, kept alive by a heartbeat, taken over from the dead."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import psutil
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from orchestrator.core.errors import LedgerError, SuspendedError, SweepLockedError
from orchestrator.ledger.database import Database
from orchestrator.ledger.tables import drivers, sweeps

HEARTBEAT_S = 5.0
STALE_S = 60.0
"""A driver whose last heartbeat is older than this has lost its sweep, even if its process still exists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The process that holds a sweep; times in seconds since the epoch."""

    token: str
    host: str
    pid: int
    process_started_at: float
    since: float
    heartbeat_at: float

    def is_alive(self, now: float) -> bool:
        """Return whether its heart beats and, if it is of this machine, its process still exists."""
        if now - self.heartbeat_at > STALE_S:
            return False
        return self.host != socket.gethostname() or _started_at(self.pid) == self.process_started_at

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since).astimezone()
        return f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S}"


@dataclass(slots=True)
class Hold:
    """A driver's hold on a sweep.

    Attributes:
        busy: whether there is something to do. Until the driver sets it, its time is not the sweep's: to find that a
            finished sweep is finished costs it nothing. Then the whole hold counts, from its first second.
    """

    busy: bool = False


class DriverStore:
    """The drivers of the sweeps. A sweep has at most one."""

    def __init__(self, database: Database, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._database = database
        self._heartbeat_s = heartbeat_s
        self._held: dict[int, str] = {}

    def live(self, sweep_id: int) -> Driver | None:
        """Return the live driver of a sweep, or None."""
        with self._database.read() as connection:
            found = _find(connection, sweep_id)
        return found if found is not None and found.is_alive(time.time()) else None

    def require_none(self, sweep_id: int) -> None:
        """Check that no live driver runs the sweep.

        Raises:
            SweepLockedError: a driver runs it.
        """
        driver = self.live(sweep_id)
        if driver is not None:
            raise SweepLockedError(f"the sweep is being run by {driver}")

    @contextmanager
    def hold(self, sweep_id: int) -> Iterator[Hold]:
        """Hold the sweep while the context lasts; once it is ``busy``, that time is added to the sweep's ``elapsed_s``.

        Raises:
            SweepLockedError: another live driver holds it; the message names its process, host and start.
        """
        self._held[sweep_id] = self._acquire(sweep_id)
        hold, done = Hold(), threading.Event()
        heart = threading.Thread(target=self._beat, args=(sweep_id, hold, done), name="ledger-heartbeat", daemon=True)
        heart.start()
        try:
            yield hold
        finally:
            done.set()
            heart.join()
            token = self._held.pop(sweep_id)
            # If the database cannot be written now, the row tells of a process that has ended, and holds nothing.
            with suppress(LedgerError, SuspendedError, SQLAlchemyError), self._database.write() as connection:
                connection.execute(delete(drivers).where(drivers.c.sweep_id == sweep_id, drivers.c.token == token))

    @contextmanager
    def write_sweep(self, sweep_id: int) -> Iterator[Connection]:
        """Yield a connection in one transaction that fails if this object drove the sweep and has lost it.

        Raises:
            LedgerError: another driver took the sweep over, because this one's heart had stopped (a suspended process).
        """
        with self._database.write() as connection:
            token = self._held.get(sweep_id)
            if token is not None:
                found = _find(connection, sweep_id)
                if found is None or found.token != token:
                    raise LedgerError(f"this driver was silent for over {STALE_S:.0f} s and lost its sweep to {found}")
            yield connection

    def _acquire(self, sweep_id: int) -> str:
        now, pid = time.time(), os.getpid()
        mine = Driver(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            pid=pid,
            process_started_at=_started_at(pid) or 0.0,
            since=now,
            heartbeat_at=now,
        )
        try:
            with self._database.write() as connection:
                found = _find(connection, sweep_id)
                if found is not None and found.is_alive(now):
                    raise SweepLockedError(f"the sweep is already being run by {found}")
                if found is not None:
                    connection.execute(
                        delete(drivers).where(drivers.c.sweep_id == sweep_id, drivers.c.token == found.token)
                    )
                connection.execute(
                    insert(drivers).values(
                        sweep_id=sweep_id, **{name: getattr(mine, name) for name in Driver.__slots__}
                    )
                )
        except IntegrityError as error:
            raise SweepLockedError("the sweep has just been taken by another process") from error
        return mine.token

    def _beat(self, sweep_id: int, hold: Hold, done: threading.Event) -> None:
        token, counted, ended = self._held[sweep_id], time.monotonic(), False
        while not ended:
            ended = done.wait(self._heartbeat_s)
            spent_s = time.monotonic() - counted if hold.busy else 0.0
            try:
                with self.write_sweep(sweep_id) as connection:
                    mine = (drivers.c.sweep_id == sweep_id) & (drivers.c.token == token)
                    connection.execute(update(drivers).where(mine).values(heartbeat_at=time.time()))
                    elapsed_s = sweeps.c.elapsed_s + spent_s
                    connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(elapsed_s=elapsed_s))
            except (SQLAlchemyError, SuspendedError):
                continue  # a busy or absent database: the next beat tries again, and adds the time of both
            except LedgerError:
                return  # the sweep was taken over; the driver's own next write says so
            counted += spent_s


def _find(connection: Connection, sweep_id: int) -> Driver | None:
    row: Row[tuple[object, ...]] | None = connection.execute(
        select(*(drivers.c[name] for name in Driver.__slots__)).where(drivers.c.sweep_id == sweep_id)
    ).first()
    return None if row is None else Driver(**row._asdict())


def _started_at(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch; None if there is no such process.

    A zombie is no process either: it was killed, and its parent has not asked for its exit code (usual in containers).
    """
    try:
        process = psutil.Process(pid)
        return None if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD} else process.create_time()
    except psutil.Error:
        return None
