"""The database that holds the ledger and Optuna's study: where it is, how it is opened, how it is written to."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from orchestrator.core.errors import LedgerError
from orchestrator.ledger import tables
from orchestrator.ledger.connection import making_tables, wait_for_server
from orchestrator.ledger.database_errors import (
    BUSY_TIMEOUT_S,
    WRITABLE,
    ReadOnlyLedgerError,
    damaged,
    explained,
)
from orchestrator.ledger.home import has_sweeps, home

_WAL = b"\x02\x02"
"""How the journal mode WAL stands in the header of an SQLite file."""


def default_url() -> str:
    """Return the database's URL: ``LORATORY_DB``, or an SQLite file in ``home()``."""
    return os.environ.get("LORATORY_DB") or f"sqlite:///{home() / 'ledger.db'}"


def connect_args(url: str) -> dict[str, Any]:
    """Return what the driver of ``url`` needs so that concurrent writers wait for each other."""
    return {"timeout": BUSY_TIMEOUT_S} if make_url(url).get_backend_name() == "sqlite" else {}


def open_engine(url: str) -> Engine:
    """Return an engine for ``url``; an SQLite file's folder is made.

    Raises:
        LedgerError: an SQLite URL without a file (Optuna's study could not share it), or its folder cannot be made.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if not parsed.database or parsed.database == ":memory:":
        raise LedgerError(f"the ledger needs a database that lasts, got {url}")
    folder = Path(parsed.database).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReadOnlyLedgerError(f"the folder {folder} cannot be made: {error.strerror}; {WRITABLE}") from error
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
    """An opened database, its tables made and their version checked.

    Attributes:
        url: as it was given.
        read_only: why it can be read alone, in words: a copy of it is read then; None: it can be written.
    """

    def __init__(self, url: str) -> None:
        """Open ``url``; where an SQLite file cannot be written, it is read.

        Raises:
            LedgerError: the database cannot be opened, is damaged, or a later version of Loratory wrote it.
        """
        self.url = url
        self.read_only: str | None = None
        self._copy: TemporaryDirectory[str] | None = None
        try:
            self.engine = open_engine(url)
        except ImportError as error:
            raise LedgerError(f"LORATORY_DB needs a driver: {error}; for PostgreSQL, loratory[postgres]") from error
        except ArgumentError as error:
            raise LedgerError(f"LORATORY_DB is no database URL: {error}") from error
        try:
            self._prepare()
        except (ReadOnlyLedgerError, OSError) as error:
            self._read_copy(error)
        except DatabaseError as error:
            raise LedgerError(f"the ledger at {self.engine.url!r} cannot be opened: {error.orig}") from error
        wait_for_server(self.engine)

    def close(self) -> None:
        """Give the connections back; the object may still be used, and opens new ones."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection on one consistent view."""
        with (
            explained(self.engine, sqlite_file(self.url)),
            self.engine.connect() as connection,
            connection.execution_options(read_only=True).begin(),
        ):
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in one transaction: committed at the end, rolled back by an exception.

        Raises:
            LedgerError: it can only be read.
            SuspendedError: the disk is full, another process holds it for too long, or the server does not answer.
        """
        if self.read_only is not None:
            raise ReadOnlyLedgerError(self.read_only)
        with explained(self.engine), self.engine.begin() as connection:
            yield connection

    def damage(self) -> str | None:
        """Look through an SQLite file and return what is damaged in it, in words; None if nothing is."""
        if self.engine.dialect.name != "sqlite":
            return None
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        return None if found == "ok" else str(damaged(str(sqlite_file(self.url)), str(found)))

    def _prepare(self) -> None:
        """Make what is missing, and check the version.

        The first connection to a new SQLite file writes to it, so that is made under the lock too.
        """
        file = sqlite_file(self.url)
        if file is not None and file.exists() and file.stat().st_size == 0 and has_sweeps(file.parent):
            raise damaged(str(file), "it is empty, and there are sweeps beside it")
        found = self._stored_version() if file is None or _is_made(file) else None
        if found is None:
            with making_tables(self.engine):
                self._create()
            found = self._stored_version()
        if found is not None and found > tables.SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger at {self.engine.url!r} has schema {found}, of a later version of Loratory; this one "
                f"knows schemas up to {tables.SCHEMA_VERSION}: upgrade it, or set LORATORY_HOME to another folder"
            )
        self._require_tables()

    def _stored_version(self) -> int | None:
        with self.read() as connection:
            return _version(connection)

    def _create(self) -> None:
        """Make the tables and store their version, all in one transaction, unless another process just did."""
        with self.write() as connection:
            if _version(connection) is not None:
                return
            tables.metadata.create_all(connection)
            connection.execute(insert(tables.schema).values(version=tables.SCHEMA_VERSION))

    def _require_tables(self) -> None:
        with self.read() as connection:
            missing = sorted(tables.metadata.tables.keys() - set(inspect(connection).get_table_names()))
        if missing:
            raise damaged(str(sqlite_file(self.url) or self.engine.url), f"the table {missing[0]} is missing")

    def _read_copy(self, error: Exception) -> None:
        """Read a copy of an SQLite file that cannot be written: SQLite writes beside a file even to read it."""
        file = sqlite_file(self.url)
        told = error if isinstance(error, ReadOnlyLedgerError) else f"{file} cannot be written: {error}; {WRITABLE}"
        if file is None or not os.access(file, os.R_OK):
            raise ReadOnlyLedgerError(str(told)) from error
        self.engine.dispose()
        self._copy = TemporaryDirectory(prefix="loratory-")
        copy = Path(self._copy.name) / file.name
        for name in (file.name, f"{file.name}-wal"):
            if (file.parent / name).exists():
                shutil.copyfile(file.parent / name, copy.parent / name)
        self.engine = open_engine(f"sqlite:///{copy}")
        if self._stored_version() is None:
            raise damaged(str(file), "it holds no tables of Loratory")
        self._require_tables()
        self.read_only = str(told)


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite URL; None of another."""
    parsed = make_url(url)
    named = parsed.get_backend_name() == "sqlite" and parsed.database
    return Path(parsed.database).absolute() if named and parsed.database else None


def _is_made(file: Path) -> bool:
    """Return whether an SQLite file has its journal mode; connecting to one without it writes to it."""
    if not file.exists():
        return False
    with file.open("rb") as stream:
        return stream.read(20)[18:] == _WAL


def _version(connection: Connection) -> int | None:
    """Return the version of the tables; None if there are none."""
    made = inspect(connection).has_table(tables.schema.name)
    return connection.scalar(select(tables.schema.c.version)) if made else None
