"""One driver per sweep: a row in the ledger, renewed by a heartbeat, replaced after the driver's death."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

import psutil
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from orchestrator.core.errors import LedgerError, SuspendedError, SweepLockedError
from orchestrator.ledger.database import Database
from orchestrator.ledger.tables import drivers, sweeps

HEARTBEAT_S = 5.0
STALE_S = 60.0
"""A driver loses its sweep if its last heartbeat is older than this, even if its process still exists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The process running a sweep; times in seconds since the epoch."""

    token: str
    host: str
    pid: int
    process_started_at: float
    since: float
    heartbeat_at: float

    def is_alive(self, now: float) -> bool:
        """Return whether its heartbeat is recent and, on this machine, its process still exists."""
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
        busy: set by the driver once it has work to do. The whole time of a busy hold counts as the sweep's
            ``elapsed_s``; a hold without work, as on a finished sweep, adds nothing.
    """

    busy: bool = False
    _began: float = field(default_factory=time.monotonic)
    # Start of the idle block, if one is open, and seconds of the earlier blocks. One value: another thread reads it.
    _idle: tuple[float | None, float] = (None, 0.0)

    @property
    def spent_s(self) -> float:
        """Time of the hold in seconds, without idle blocks; 0 before there was work."""
        idle_since, idle_s = self._idle
        now = time.monotonic() if idle_since is None else idle_since
        return now - self._began - idle_s if self.busy else 0.0

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Leave out the time of the block: the driver waits for a user."""
        self._idle = since, earlier_s = time.monotonic(), self._idle[1]
        try:
            yield
        finally:
            self._idle = None, earlier_s + time.monotonic() - since


class DriverStore:
    """The drivers of the sweeps. A sweep has at most one."""

    def __init__(self, database: Database, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._database = database
        self._heartbeat_s = heartbeat_s
        self._held: dict[int, Driver] = {}

    def live(self, sweep_id: int) -> Driver | None:
        """Return the live driver of a sweep, or None."""
        with self._database.read() as connection:
            driver = _find(connection, sweep_id)
        return driver if driver is not None and driver.is_alive(time.time()) else None

    def held_since(self, sweep_id: int) -> float:
        """Return when this object's hold on a sweep began, in seconds since the epoch; 0 without a hold."""
        mine = self._held.get(sweep_id)
        return 0.0 if mine is None else mine.since

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
        """Hold the sweep during the context; the time of a busy hold is added to the sweep's ``elapsed_s``.

        Raises:
            SweepLockedError: another live driver holds the sweep; the message names its process, host and start.
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
            token = self._held.pop(sweep_id).token
            # If this fails, the row stays and names a dead process; it blocks nobody.
            with suppress(LedgerError, SuspendedError, SQLAlchemyError), self._database.write() as connection:
                connection.execute(delete(drivers).where(drivers.c.sweep_id == sweep_id, drivers.c.token == token))

    @contextmanager
    def write_sweep(self, sweep_id: int) -> Iterator[Connection]:
        """Yield a connection in one transaction; refuse it if this object held the sweep and lost it.

        Raises:
            LedgerError: another driver took over the sweep after this one's heartbeat stopped (a suspended process).
        """
        with self._database.write() as connection:
            mine = self._held.get(sweep_id)
            if mine is not None:
                driver = _find(connection, sweep_id)
                if driver is None or driver.token != mine.token:
                    raise LedgerError(
                        f"this driver sent no heartbeat for over {STALE_S:.0f} s and lost its sweep to {driver}"
                    )
            yield connection

    def _acquire(self, sweep_id: int) -> Driver:
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
                driver = _find(connection, sweep_id)
                if driver is not None and driver.is_alive(now):
                    raise SweepLockedError(f"the sweep is already being run by {driver}")
                if driver is not None:
                    connection.execute(
                        delete(drivers).where(drivers.c.sweep_id == sweep_id, drivers.c.token == driver.token)
                    )
                connection.execute(
                    insert(drivers).values(
                        sweep_id=sweep_id, **{name: getattr(mine, name) for name in Driver.__slots__}
                    )
                )
        except IntegrityError as error:
            raise SweepLockedError("another process has just taken the sweep") from error
        return mine

    def _beat(self, sweep_id: int, hold: Hold, done: threading.Event) -> None:
        token, counted, ended = self._held[sweep_id].token, 0.0, False
        while not ended:
            ended = done.wait(self._heartbeat_s)
            spent_s = hold.spent_s - counted
            try:
                with self.write_sweep(sweep_id) as connection:
                    mine = (drivers.c.sweep_id == sweep_id) & (drivers.c.token == token)
                    connection.execute(update(drivers).where(mine).values(heartbeat_at=time.time()))
                    elapsed_s = sweeps.c.elapsed_s + spent_s
                    connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(elapsed_s=elapsed_s))
            except (SQLAlchemyError, SuspendedError):
                continue  # a busy or absent database: the next beat adds the time of both
            except LedgerError:
                return  # another driver took over; this driver's next write raises the error
            counted += spent_s


def _find(connection: Connection, sweep_id: int) -> Driver | None:
    row: Row[tuple[object, ...]] | None = connection.execute(
        select(*(drivers.c[name] for name in Driver.__slots__)).where(drivers.c.sweep_id == sweep_id)
    ).first()
    return None if row is None else Driver(**row._asdict())


def _started_at(pid: int) -> float | None:
    """Return the start time of a process, in seconds since the epoch; None if it does not exist.

    A zombie does not count: it was killed, and its parent has not read its exit code (usual in containers).
    """
    try:
        process = psutil.Process(pid)
        return None if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD} else process.create_time()
    except psutil.Error:
        return None
