"""The database that holds the ledger and Optuna's study: where it is, how it is opened, how it is written to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError

from orchestrator.core.errors import LedgerError
from orchestrator.core.sweep import SweepRecord
from orchestrator.search import tables

BUSY_TIMEOUT_S = 60.0
"""How long a writer waits for another's transaction on SQLite."""


def home() -> Path:
    """Return the folder that holds the ledger and the sweeps' files: ``LORATORY_HOME``, or ``.loratory`` here."""
    return Path(os.environ.get("LORATORY_HOME") or ".loratory").absolute()


def sweep_dir(sweep: SweepRecord) -> Path:
    """Return the folder of a sweep's checkpoints, logs and report."""
    return home() / "sweeps" / f"{sweep.name}-{sweep.generation}"


def default_url() -> str:
    """Return the database's URL: ``LORATORY_DB``, or an SQLite file in ``home()``."""
    return os.environ.get("LORATORY_DB") or f"sqlite:///{home() / 'ledger.db'}"


def connect_args(url: str) -> dict[str, Any]:
    """Return what the driver of ``url`` needs so that concurrent writers wait for each other."""
    return {"timeout": BUSY_TIMEOUT_S} if make_url(url).get_backend_name() == "sqlite" else {}


def open_engine(url: str) -> Engine:
    """Return an engine for ``url``; an SQLite file's folder is made.

    Raises:
        LedgerError: an SQLite URL without a file: Optuna's study could not share it.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if not parsed.database or parsed.database == ":memory:":
        raise LedgerError(f"the ledger needs a database that lasts, got {url}")
    Path(parsed.database).absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args=connect_args(url))
    tune_sqlite(engine)

    # sqlite3 would start a transaction at its first write; two drivers that read first would then both fail.
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    @event.listens_for(engine, "connect")
    def manual(dbapi_connection: Any, record: object) -> None:  # noqa: ANN401, ARG001
        dbapi_connection.isolation_level = None

    return engine


def tune_sqlite(engine: Engine) -> None:
    """Let readers and one writer work side by side; a kill loses nothing, a power cut at most the last commits."""

    @event.listens_for(engine, "connect")
    def pragmas(dbapi_connection: Any, record: object) -> None:  # noqa: ANN401, ARG001
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            dbapi_connection.execute(f"PRAGMA {pragma}")


class Database:
    """An opened database, its tables made and their version checked."""

    def __init__(self, url: str) -> None:
        """Open ``url``.

        Raises:
            LedgerError: the database cannot be opened, or a later version of Loratory wrote it.
        """
        self.url = url
        try:
            self.engine = open_engine(url)
        except ImportError as error:
            raise LedgerError(f"LORATORY_DB needs a driver: {error}; for PostgreSQL, loratory[postgres]") from error
        except ArgumentError as error:
            raise LedgerError(f"LORATORY_DB is no database URL: {error}") from error
        try:
            self._prepare()
        except DatabaseError as error:
            raise LedgerError(f"the ledger at {self.engine.url!r} cannot be opened: {error.orig}") from error

    def close(self) -> None:
        """Give the connections back; the object may still be used, and opens new ones."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection on one consistent view."""
        with self.engine.connect() as connection, connection.execution_options(read_only=True).begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in one transaction: committed at the end, rolled back by an exception."""
        with self.engine.begin() as connection:
            yield connection

    def _prepare(self) -> None:
        with self.read() as connection:
            made = inspect(connection).has_table(tables.schema.name)
            found = connection.scalar(select(tables.schema.c.version)) if made else None
        if found is None:
            self._create()
        elif found > tables.SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger at {self.engine.url!r} has schema {found}, of a later version of Loratory; this one "
                f"knows schemas up to {tables.SCHEMA_VERSION}: upgrade it, or set LORATORY_HOME to another folder"
            )

    def _create(self) -> None:
        with self.write() as connection:
            tables.metadata.create_all(connection)
        try:
            with self.write() as connection:
                connection.execute(insert(tables.schema).values(version=tables.SCHEMA_VERSION))
        except IntegrityError:
            pass  # another process has just done the same
